/* handed.c - a ring of ids, and what makes two of them the same. */
#include "notifier/wake/smpp/handed.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/ids.h"

static const char *without_zeros(const char *id)
{
	while (*id == '0' && id[1])
		id++;
	return id;
}

static uint32_t hash_of(const char *id)
{
	char folded[SMPP_ID_SIZE];
	size_t len = 0;
	for (id = without_zeros(id); len < sizeof folded && id[len]; len++)
		folded[len] = (char)tolower((unsigned char)id[len]);
	return crc32_of(folded, len);
}

void handed_add(struct handed *h, const char *id)
{
	size_t i = h->next++ % HANDED_MAX;
	snprintf(h->ids[i].id, sizeof h->ids[i].id, "%s", id);
	h->ids[i].is_passed = h->ids[i].is_told = false;
	h->hashes[i] = hash_of(id);
}

static bool is_equal(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

static bool is_same(const char *a, const char *b)
{
	return strcasecmp(without_zeros(a), without_zeros(b)) == 0;
}

/* The newest first: a centre that starts to count anew means its last one. */
static struct handed_id *find(struct handed *h, const char *id, bool (*matches)(const char *, const char *))
{
	uint32_t hash = hash_of(id);
	for (size_t n = 1; n <= HANDED_MAX; n++) {
		size_t i = (h->next + HANDED_MAX - n) % HANDED_MAX;
		if (h->hashes[i] == hash && *h->ids[i].id && matches(h->ids[i].id, id))
			return &h->ids[i];
	}
	return NULL;
}

static bool read_number(const char *id, int base, const char *digits, unsigned long long *ret)
{
	errno = 0;
	*ret = strtoull(id, NULL, base);
	return id[strspn(id, digits)] == '\0' && errno == 0;
}

/* What the same number is called in the other base; false: it is no number of 64 bits. */

static bool to_hexadecimal(const char *id, char out[SMPP_ID_SIZE])
{
	unsigned long long number;
	return read_number(id, 10, "0123456789", &number) && snprintf(out, SMPP_ID_SIZE, "%llx", number) > 0;
}

static bool to_decimal(const char *id, char out[SMPP_ID_SIZE])
{
	unsigned long long number;
	return read_number(id, 16, "0123456789abcdefABCDEF", &number) &&
	       snprintf(out, SMPP_ID_SIZE, "%llu", number) > 0;
}

struct handed_id *handed_find(struct handed *h, const char *id)
{
	char other[SMPP_ID_SIZE];
	struct handed_id *found = find(h, id, is_equal);
	if (!found)
		found = find(h, id, is_same);
	if (!found && to_hexadecimal(id, other))
		found = find(h, other, is_same);
	if (!found && to_decimal(id, other))
		found = find(h, other, is_same);
	return found;
}
