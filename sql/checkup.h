/* checkup.h - what somebody who looks after a database wants to know of it before a node uses it. Blocking; for `keyfob doctor` alone. */
#ifndef KEYFOB_SQL_CHECKUP_H
#define KEYFOB_SQL_CHECKUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct checkup {
	int version; /* 150004 */
	bool fsync, full_page_writes;
	bool has_standby, wants_standby; /* one follows; synchronous_standby_names names some */
	int connections_max;	 /* of this role and database; those that are kept for superusers are not in it */
	int connections;	 /* that are open now */
	int64_t clock_offset_us; /* the server's clock minus ours */
	int64_t clock_trip_us;	 /* how long it took to ask: the offset is as exact as half of that */
	char role[64];
	char isolation[32]; /* what the role's transactions begin with */
	bool autovacuum;    /* and the counters that it goes by */
	int64_t shared_buffers_bytes, max_wal_bytes;
	int64_t wal_bytes; /* written between two checkpoints by the clock, in the mean since the server counts */

	int schema;		     /* the newest migration that was applied; 0: there is no schema of ours */
	bool may_change_schema;	     /* the role is a superuser, owns tables, or may make some */
	char surplus[160];	     /* what the role may do besides and needs not, as words; "": nothing */
	int barred;		     /* tables and functions that the role may not use as the service has to */
	char barred_one[64];	     /* one of them */
	int64_t heads_bytes;	     /* vehicle_heads and its indices: what every command and report touches */
	char missing_partitions[64]; /* of what comes in two days; "": none is missing */
};

/* False: `ret_why` is a sentence without a password in it. */
bool checkup_read(const char *database_url, struct checkup *ret, char *ret_why, size_t why_size);

#endif
