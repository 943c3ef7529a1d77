/* frames.c - from head to head: what lies between is passed over. */
#include "gateway/door/frames.h"

#define CONTROL 0x08 /* of the opcode */
#define MASKED 0x80

static unsigned length_of(const struct frames *f)
{
	return f->head[1] & 0x7fu;
}

/* Bytes behind the first two that have the length, where those have no room for it. */
static unsigned wide(const struct frames *f)
{
	return length_of(f) == 126 ? 2 : length_of(f) == 127 ? 8 : 0;
}

/* Once the first two are there. */
static unsigned head_size_of(const struct frames *f)
{
	return 2 + wide(f) + (f->head[1] & MASKED ? 4u : 0u);
}

static unsigned head_size(const struct frames *f)
{
	return f->have < 2 ? 2 : head_size_of(f);
}

static uint64_t payload_size(const struct frames *f)
{
	unsigned bytes = wide(f);
	uint64_t size = bytes > 0 ? 0 : length_of(f);

	for (unsigned i = 0; i < bytes; i++)
		size = size << 8 | f->head[2 + i];
	return size;
}

static bool ends_head(struct frames *f, char byte)
{
	f->head[f->have++] = (unsigned char)byte;
	if (f->have < head_size(f))
		return false;
	f->left = payload_size(f);
	f->have = 0;
	return true;
}

struct frames_seen frames_see(struct frames *f, const char *data, size_t len)
{
	struct frames_seen seen = { 0 };

	for (size_t i = 0; i < len;) {
		if (f->left > 0) {
			size_t passed = f->left < len - i ? (size_t)f->left : len - i;
			f->left -= passed;
			i += passed;
		} else if (ends_head(f, data[i++])) {
			seen.control += (f->head[0] & CONTROL) != 0;
			if (seen.unmasked || f->head[1] & MASKED)
				continue;
			seen.unmasked = true;
			seen.at = (ptrdiff_t)i - (ptrdiff_t)head_size_of(f);
		}
	}
	return seen;
}
