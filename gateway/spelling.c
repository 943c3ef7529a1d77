/* spelling.c - which of the known names somebody probably meant. */
#include "gateway/spelling.h"

#include <string.h>

#define LETTERS_MAX 63

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Optimal string alignment: three rows of the usual table are enough. */
size_t spelling_distance(const char *a, const char *b, size_t b_len)
{
	size_t rows[3][LETTERS_MAX + 1];
	size_t a_len = strlen(a);

	if (a_len > LETTERS_MAX || b_len > LETTERS_MAX)
		return a_len > b_len ? a_len : b_len;
	for (size_t j = 0; j <= b_len; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *second_above = rows[(i + 1) % 3];
		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			row[j] = least(above[j], row[j - 1]) + 1;
			row[j] = least(row[j], above[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = least(row[j], second_above[j - 2] + 1);
		}
	}
	return rows[a_len % 3][b_len];
}
