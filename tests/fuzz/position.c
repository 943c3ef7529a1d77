/* position.c - where an event stream is resumed from. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/position.h"
#include "tests/fuzz/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	char *text = input_copy((const char *)bytes, len), epoch[POSITION_EPOCH_SIZE], written[128];
	int64_t seq = -1, again = -1;

	if (position_read(text, len, epoch, &seq)) {
		assert(seq >= 0 && strlen(epoch) < sizeof(epoch));
		int n = snprintf(written, sizeof(written), "%s:%lld", epoch, (long long)seq);
		assert(position_read(written, (size_t)n, epoch, &again) && again == seq);
	}
	free(text);
	return 0;
}
