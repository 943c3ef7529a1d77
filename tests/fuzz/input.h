/* input.h - what libFuzzer gives, cut into the texts that a parser takes: lines, and the rest. */
#ifndef KEYFOB_TESTS_FUZZ_INPUT_H
#define KEYFOB_TESTS_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>

struct input {
	const char *at;
	size_t left;
};

/* libFuzzer's own entry: each target has one. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* The next line without its end, NUL-terminated; what follows a NUL in it is not seen. The caller frees it. */
char *input_line(struct input *);
/* A copy of exactly `len` bytes, so that the sanitizer sees who reads behind them. Never NULL; the caller frees it. */
char *input_copy(const char *bytes, size_t len);
/* A file in memory that holds the bytes, until the next call; its name is good for open(2). */
const char *input_file(const char *bytes, size_t len);

#endif
