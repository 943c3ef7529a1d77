/* memory.c - allocation that does not fail. */
#include "base/memory.h"

#include <stdlib.h>
#include <unistd.h>

/* Without stdio, which might want memory itself. */
void memory_out(void)
{
	static const char line[] = "keyfob: out of memory\n";
	ssize_t ignored = write(STDERR_FILENO, line, sizeof line - 1);
	(void)ignored;
	abort();
}

void *memory_need(void *what)
{
	if (!what)
		memory_out();
	return what;
}

void *memory_raw(size_t size)
{
	return memory_need(malloc(size ? size : 1));
}

void *memory_new(size_t size)
{
	return memory_need(calloc(1, size ? size : 1));
}

void *memory_resize(void *old, size_t count, size_t size)
{
	return memory_need(reallocarray(old, count ? count : 1, size));
}
