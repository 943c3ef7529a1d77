/* input.c - cuts an input. */
#include "tests/fuzz/input.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

char *input_copy(const char *bytes, size_t len)
{
	char *copy = malloc(len ? len : 1);

	if (!copy)
		abort();
	if (len)
		memcpy(copy, bytes, len);
	return copy;
}

char *input_line(struct input *in)
{
	const char *end = in->left ? memchr(in->at, '\n', in->left) : NULL;
	size_t len = end ? (size_t)(end - in->at) : in->left, taken = end ? len + 1 : len;
	char *line = in->left ? strndup(in->at, len) : strdup("");

	if (!line)
		abort();
	in->at += taken;
	in->left -= taken;
	return line;
}

const char *input_file(const char *bytes, size_t len)
{
	static char name[64];
	static int fd = -1;

	if (fd < 0)
		fd = memfd_create("input", MFD_CLOEXEC);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, bytes, len, 0) != (ssize_t)len)
		abort();
	return name;
}
