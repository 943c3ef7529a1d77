/* unheard.c - bytes and segments of TCP, as the kernel counts them (TCP_INFO, Linux 4.6), less what we were told of.
 *
 * A flood comes in one of two forms, and is counted by the form that makes it more: in large segments, where each frame is
 * taken for as large as a control frame can be, so that small ones count for too few; or each frame in a segment, and a turn
 * of the loop, of its own.
 *
 * Some kernels answer without having counted (gVisor with zeros; where the bytes go past TCP: sockmap, SMC): then nothing is known. */
#include "gateway/ws/unheard.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define HEAD_MAX 14	/* RFC 6455 §5.2: of a frame, with its mask */
#define CONTROL_MAX 131 /* §5.5: 125 bytes, a head of 6 */
#define SEGMENTS 2	/* of a frame: some clients send head and payload by themselves */
#define SEGMENT_MIN 256 /* bytes of a larger one: no path has less room */

static bool received(int fd, uint64_t *ret_bytes, uint64_t *ret_segments, bool *ret_all_read)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);
	int unread = 0;

	if (ioctl(fd, FIONREAD, &unread) != 0 || getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0 ||
		len < offsetof(struct tcp_info, tcpi_data_segs_in) + sizeof(info.tcpi_data_segs_in) ||
		info.tcpi_bytes_received < (unsigned)unread)
		return false;
	*ret_bytes = info.tcpi_bytes_received - (unsigned)unread;
	*ret_segments = info.tcpi_data_segs_in;
	*ret_all_read = unread == 0;
	return true;
}

void unheard_begin(struct unheard *u, int fd)
{
	bool all_read;

	*u = (struct unheard){ 0 };
	u->unknown = !received(fd, &u->bytes, &u->segments, &all_read);
}

void unheard_told(struct unheard *u, size_t len, bool ends_frame)
{
	u->told_bytes += len + (ends_frame ? HEAD_MAX : 0);
	u->told_segments += (ends_frame ? SEGMENTS : 0) + len / SEGMENT_MIN;
}

/* RFC 6455 §5.2: in one frame, of which more would have more heads; the mask is 4 bytes of it. */
void unheard_whole(struct unheard *u, size_t len)
{
	u->least_bytes += len + (len < 126 ? 6 : len < 65536 ? 8 : 14);
}

static double beyond(uint64_t all, uint64_t before, uint64_t told)
{
	return all > before + told ? (double)(all - before - told) : 0;
}

/* What was received and not read would be counted before it is told: segments count where nothing waits. */
double unheard_look(struct unheard *u, int fd, bool *ret_unmasked)
{
	uint64_t bytes, segments;
	bool all_read;

	*ret_unmasked = false;
	if (u->unknown || !received(fd, &bytes, &segments, &all_read))
		return 0;
	u->unknown = u->told_bytes > 0 && bytes <= u->bytes; /* it came by another way than it is counted on */
	if (u->unknown)
		return 0;
	*ret_unmasked = bytes - u->bytes < u->least_bytes;
	double frames = beyond(bytes, u->bytes, u->told_bytes) / CONTROL_MAX;
	double alone = all_read ? beyond(segments, u->segments, u->told_segments) : 0;
	double more = (frames > alone ? frames : alone) - u->counted;
	if (more <= 0)
		return 0;
	u->counted += more;
	return more;
}
