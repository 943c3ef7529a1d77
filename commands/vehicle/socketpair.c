/* socketpair.c - takes the C library's place for libmosquitto: a client does without its pair of sockets.
 *
 * libmosquitto makes one with every handle, to wake a loop of its own that nothing here runs, and writes an octet into it for
 * every packet, which nobody reads. It goes on without where there is none to be had. That is half of the descriptors
 * that a vehicle took; nothing else in this program asks for a pair. */
#include <errno.h>
#include <sys/socket.h>

int socketpair(int domain, int type, int protocol, int pair[2])
{
	(void)domain, (void)type, (void)protocol, (void)pair;
	errno = EMFILE;
	return -1;
}
