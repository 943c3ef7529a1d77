/* memory.h - allocation that does not fail: without memory the process ends with one plain line.
 *
 * A node that cannot allocate cannot keep a promise either; what it promised is in the database, and
 * another node goes on with it. Everything here is released with free(). */
#ifndef KEYFOB_BASE_MEMORY_H
#define KEYFOB_BASE_MEMORY_H

#include <stddef.h>

/* As malloc(). For libraries that take an allocator: what they would say of a want of memory could be mistaken for something else. */
void *memory_raw(size_t size) __attribute__((malloc, returns_nonnull));
/* Zeroed. */
void *memory_new(size_t size) __attribute__((malloc, returns_nonnull));
/* As reallocarray(): `count` elements of `size` bytes; `old` may be NULL. */
void *memory_resize(void *old, size_t count, size_t size) __attribute__((returns_nonnull));
/* `what` again, unless it is NULL: then the process ends. For libraries that answer NULL when memory is out. */
void *memory_need(void *what) __attribute__((returns_nonnull));
/* Ends the process as the others here do. For libraries that say in a way of their own that memory is out. */
void memory_out(void) __attribute__((noreturn));

#endif
