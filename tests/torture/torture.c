/* torture.c - makes the n-th call of a kind fail, in a node that runs with this library before all others (LD_PRELOAD).
 *
 * Who says which is outside: a file that both have mapped, named by KEYFOB_TEST_TORTURE (tests/system/torture.mjs). While nothing is
 * armed there every call goes on to the function that was meant. */
#include "torture.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* What becomes of a read or write of a socket. */
enum trouble { INTERRUPTED, WOULD_BLOCK, RESET, SHORT };

struct control {
	_Atomic uint32_t armed;	  /* kinds, or'ed */
	_Atomic uint32_t trouble; /* of WIRE */
	_Atomic uint32_t count;	  /* calls since it was armed */
	_Atomic uint32_t fail_at; /* the one that fails; 0: none, they are counted alone */
	char where[48];		  /* the function that failed */
};

static struct control *control;

__attribute__((constructor)) static void map_control(void)
{
	const char *path = getenv("KEYFOB_TEST_TORTURE");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *at = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	if (at != MAP_FAILED)
		control = at;
}

bool fails(enum kind kind, const char *where)
{
	if (!control || !(atomic_load(&control->armed) & kind))
		return false;
	if (atomic_fetch_add(&control->count, 1) + 1 != atomic_load(&control->fail_at))
		return false;
	strncpy(control->where, where, sizeof control->where - 1);
	return true;
}

/* dlsym() itself may want memory: then there is some here, which is never given back. */
static _Alignas(16) char early[65536];
static atomic_size_t early_used;
static __thread bool is_finding;

void *find(const char *name)
{
	is_finding = true;
	void *found = dlsym(RTLD_NEXT, name);
	is_finding = false;
	return found;
}

static void *early_memory(size_t size)
{
	size_t at = atomic_fetch_add(&early_used, (size + 15) & ~(size_t)15);
	return at + size <= sizeof early ? early + at : NULL;
}

static bool is_early(const void *p)
{
	return (const char *)p >= early && (const char *)p < early + sizeof early;
}

/* memory; what the C library allocates for somebody (strdup() and others) comes here, too */

static void *none(void)
{
	errno = ENOMEM;
	return NULL;
}

void *malloc(size_t size)
{
	if (is_finding)
		return early_memory(size);
	NEXT(malloc);
	return fails(MEMORY, "malloc") ? none() : next(size);
}

void *calloc(size_t count, size_t size)
{
	if (is_finding)
		return early_memory(count * size);
	NEXT(calloc);
	return fails(MEMORY, "calloc") ? none() : next(count, size);
}

void *realloc(void *old, size_t size)
{
	NEXT(realloc);
	return fails(MEMORY, "realloc") ? none() : next(old, size);
}

void *reallocarray(void *old, size_t count, size_t size)
{
	NEXT(reallocarray);
	return fails(MEMORY, "reallocarray") ? none() : next(old, count, size);
}

int posix_memalign(void **ret, size_t alignment, size_t size)
{
	NEXT(posix_memalign);
	return fails(MEMORY, "posix_memalign") ? ENOMEM : next(ret, alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	NEXT(aligned_alloc);
	return fails(MEMORY, "aligned_alloc") ? none() : next(alignment, size);
}

void free(void *p)
{
	if (is_early(p))
		return;
	NEXT(free);
	next(p);
}

/* The wire: sockets of the Internet alone, for what is between threads does not break. */

static bool is_wire(int fd)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof address;
	int error = errno;
	bool is = control && atomic_load(&control->armed) & WIRE &&
		  getsockname(fd, (struct sockaddr *)&address, &size) == 0 &&
		  (address.ss_family == AF_INET || address.ss_family == AF_INET6);
	errno = error;
	return is;
}

/* How much of *len it would be, of what there is to read. */
static size_t there_is(int fd, size_t len)
{
	int count = 0, error = errno;
	if (ioctl(fd, FIONREAD, &count) < 0 || count < 0)
		count = 0;
	errno = error;
	return (size_t)count < len ? (size_t)count : len;
}

/* Whether the call fails, with errno; or goes on with half of what it would do in *len. Of less than two bytes there is no half: such a
 * call is not counted. */
static bool breaks(int fd, const char *where, size_t *len, bool reads)
{
	static const int errors[] = { [INTERRUPTED] = EINTR, [WOULD_BLOCK] = EAGAIN, [RESET] = ECONNRESET };
	if (!is_wire(fd))
		return false;
	uint32_t trouble = atomic_load(&control->trouble);
	if (trouble >= SHORT) {
		size_t all = reads ? there_is(fd, *len) : *len;
		if (all >= 2 && fails(WIRE, where))
			*len = all / 2;
		return false;
	}
	if (!fails(WIRE, where))
		return false;
	if (trouble == RESET)
		shutdown(fd, SHUT_RDWR); /* it stays so */
	errno = errors[trouble];
	return true;
}

ssize_t read(int fd, void *to, size_t len)
{
	NEXT(read);
	return breaks(fd, "read", &len, true) ? -1 : next(fd, to, len);
}

ssize_t write(int fd, const void *from, size_t len)
{
	NEXT(write);
	return breaks(fd, "write", &len, false) ? -1 : next(fd, from, len);
}

/* Who peeks sees all that is there. */
static bool breaks_recv(int fd, const char *where, size_t *len, int flags)
{
	if (flags & MSG_PEEK && control && atomic_load(&control->trouble) >= SHORT)
		return false;
	return breaks(fd, where, len, true);
}

ssize_t recv(int fd, void *to, size_t len, int flags)
{
	NEXT(recv);
	return breaks_recv(fd, "recv", &len, flags) ? -1 : next(fd, to, len, flags);
}

ssize_t send(int fd, const void *from, size_t len, int flags)
{
	NEXT(send);
	return breaks(fd, "send", &len, false) ? -1 : next(fd, from, len, flags);
}

/* Of parts that go on in part there is the first, or half of it. */
struct parts {
	struct iovec first;
	const struct iovec *at;
	size_t count;
};

static bool breaks_parts(int fd, const char *where, struct parts *parts, bool reads)
{
	size_t all = 0, first = parts->count > 0 ? parts->at[0].iov_len : 0;
	for (size_t i = 0; i < parts->count; i++)
		all += parts->at[i].iov_len;
	size_t len = all;
	if (breaks(fd, where, &len, reads))
		return true;
	if (len < all) {
		parts->first = (struct iovec){ parts->at[0].iov_base, len < first ? len : first };
		parts->at = &parts->first;
		parts->count = 1;
	}
	return false;
}

ssize_t readv(int fd, const struct iovec *at, int count)
{
	struct parts parts = { .at = at, .count = (size_t)count };
	NEXT(readv);
	return breaks_parts(fd, "readv", &parts, true) ? -1 : next(fd, parts.at, (int)parts.count);
}

ssize_t writev(int fd, const struct iovec *at, int count)
{
	struct parts parts = { .at = at, .count = (size_t)count };
	NEXT(writev);
	return breaks_parts(fd, "writev", &parts, false) ? -1 : next(fd, parts.at, (int)parts.count);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	struct parts parts = { .at = message->msg_iov, .count = message->msg_iovlen };
	struct msghdr some = *message;
	NEXT(sendmsg);
	if (breaks_parts(fd, "sendmsg", &parts, false))
		return -1;
	some.msg_iov = (struct iovec *)parts.at;
	some.msg_iovlen = parts.count;
	return next(fd, &some, flags);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	struct parts parts = { .at = message->msg_iov, .count = message->msg_iovlen };
	struct msghdr some = *message;
	NEXT(recvmsg);
	if (breaks_parts(fd, "recvmsg", &parts, true))
		return -1;
	some.msg_iov = (struct iovec *)parts.at;
	some.msg_iovlen = parts.count;
	ssize_t got = next(fd, &some, flags);
	some.msg_iov = message->msg_iov;
	some.msg_iovlen = message->msg_iovlen;
	*message = some;
	return got;
}

/* As glibc's fortified callers call them; the headers declare neither. */
ssize_t __read_chk(int fd, void *to, size_t len, size_t room);
ssize_t __recv_chk(int fd, void *to, size_t len, size_t room, int flags);

ssize_t __read_chk(int fd, void *to, size_t len, size_t room)
{
	NEXT(__read_chk);
	return breaks(fd, "read", &len, true) ? -1 : next(fd, to, len, room);
}

ssize_t __recv_chk(int fd, void *to, size_t len, size_t room, int flags)
{
	NEXT(__recv_chk);
	return breaks_recv(fd, "recv", &len, flags) ? -1 : next(fd, to, len, room, flags);
}

/* descriptors: there are no more */

static int too_many(void)
{
	errno = EMFILE;
	return -1;
}

int socket(int family, int type, int protocol)
{
	NEXT(socket);
	return fails(DESCRIPTOR, "socket") ? too_many() : next(family, type, protocol);
}

int accept(int fd, struct sockaddr *address, socklen_t *size)
{
	NEXT(accept);
	return fails(DESCRIPTOR, "accept") ? too_many() : next(fd, address, size);
}

int accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
	NEXT(accept4);
	return fails(DESCRIPTOR, "accept4") ? too_many() : next(fd, address, size, flags);
}

static mode_t mode_of(int flags, va_list rest)
{
	return flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
	va_list rest;
	va_start(rest, flags);
	mode_t mode = mode_of(flags, rest);
	va_end(rest);
	NEXT(open);
	return fails(DESCRIPTOR, "open") ? too_many() : next(path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...)
{
	va_list rest;
	va_start(rest, flags);
	mode_t mode = mode_of(flags, rest);
	va_end(rest);
	NEXT(openat);
	return fails(DESCRIPTOR, "openat") ? too_many() : next(folder, path, flags, mode);
}
