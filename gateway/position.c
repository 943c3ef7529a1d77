/* position.c - reads a stream's position. */
#include "gateway/position.h"

#include <stdlib.h>
#include <string.h>

#define SEQ_DIGITS_MAX 18 /* so many are always an int64_t */

bool position_read(const char *text, size_t len, char ret_epoch[POSITION_EPOCH_SIZE], int64_t *ret_seq)
{
	const char *colon = memchr(text, ':', len);
	size_t epoch_len = colon ? (size_t)(colon - text) : 0, seq_len = colon ? len - epoch_len - 1 : 0;
	char seq[SEQ_DIGITS_MAX + 1] = "";

	if (!colon || epoch_len >= POSITION_EPOCH_SIZE || seq_len < 1 || seq_len > SEQ_DIGITS_MAX)
		return false;
	memcpy(seq, colon + 1, seq_len);
	if (strspn(seq, "0123456789") != seq_len)
		return false;
	memcpy(ret_epoch, text, epoch_len);
	ret_epoch[epoch_len] = '\0';
	*ret_seq = strtoll(seq, NULL, 10);
	return true;
}
