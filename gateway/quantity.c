/* quantity.c - amounts as people write them: 64KiB, 500ms, 90d, 50/s. */
#include "gateway/quantity.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ascending, so that the last one that divides an amount is the shortest to write */
const struct unit UNITS_NONE[] = { { "", 1 }, { NULL, 0 } };
const struct unit UNITS_SIZE[] = { { "", 1 }, { "B", 1 }, { "KiB", 1 << 10 }, { "MiB", 1 << 20 }, { "GiB", 1 << 30 },
	{ NULL, 0 } };
const struct unit UNITS_DURATION[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60 * 1000 }, { "h", 3600 * 1000 },
	{ "d", 24 * 3600 * 1000 }, { NULL, 0 } };

static bool digits_read(const char *text, int64_t *ret, const char **ret_rest)
{
	const char *c = text;
	int64_t n = 0;

	for (; *c >= '0' && *c <= '9'; c++)
		if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *c - '0', &n))
			return false;
	*ret = n;
	*ret_rest = c;
	return c != text;
}

bool quantity_read(const char *text, const struct unit *units, int64_t *ret)
{
	const char *rest;
	int64_t n;

	if (!digits_read(text, &n, &rest))
		return false;
	for (const struct unit *u = units; u->name; u++)
		if (strcmp(rest, u->name) == 0 || (n == 0 && !*rest))
			return !__builtin_mul_overflow(n, u->factor, ret);
	return false;
}

void quantity_write(int64_t amount, const struct unit *units, char *out, size_t size)
{
	const struct unit *best = units;

	for (const struct unit *u = units; u->name && amount; u++)
		if (amount % u->factor == 0 && u->factor > best->factor)
			best = u;
	snprintf(out, size, "%" PRId64 "%s", amount / best->factor, amount ? best->name : "");
}

bool rate_read(const char *text, double *ret_per_second)
{
	size_t digits = strspn(text, "0123456789.");
	const char *unit = text + digits;
	char *end;
	double n = strtod(text, &end);

	if (digits == 0 || digits > 15 || end != unit)
		return false;
	if (strcmp(unit, "/m") == 0)
		n /= 60;
	else if (strcmp(unit, "/s") != 0 && (*unit || n > 0))
		return false;
	*ret_per_second = n;
	return true;
}
