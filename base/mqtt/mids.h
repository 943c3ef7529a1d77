/* mids.h - a set of MQTT packet identifiers (§2.2.1): which publishes wait for their PUBACK. */
#ifndef KEYFOB_BASE_MQTT_MIDS_H
#define KEYFOB_BASE_MQTT_MIDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mids {
	uint64_t bits[65536 / 64];
	size_t count;
};

static inline bool mids_has(const struct mids *m, uint16_t mid)
{
	return m->bits[mid / 64] >> mid % 64 & 1;
}

static inline void mids_add(struct mids *m, uint16_t mid)
{
	m->count += !mids_has(m, mid);
	m->bits[mid / 64] |= UINT64_C(1) << mid % 64;
}

/* false: it was not in there */
static inline bool mids_remove(struct mids *m, uint16_t mid)
{
	if (!mids_has(m, mid))
		return false;
	m->bits[mid / 64] &= ~(UINT64_C(1) << mid % 64);
	m->count--;
	return true;
}

#endif
