/* hash.h - uthash with memory that does not fail. By itself it ends a process that has none with exit(-1): without a line, and with the
 * clean-up of libraries whose threads still run. */
#ifndef KEYFOB_BASE_HASH_H
#define KEYFOB_BASE_HASH_H

#include "base/memory.h"

#define uthash_malloc(size) memory_raw(size)

#include <uthash.h>

#endif
