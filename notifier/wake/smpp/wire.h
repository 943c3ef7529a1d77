/* wire.h - one connection to an SMS centre: the name resolved, TCP, TLS if asked for, and PDUs cut out of the bytes.
 *
 * Nothing here blocks the loop. A wire is opened once and closed once; its owner gets on_open, then on_pdu for each, and
 * perhaps on_lost, after which only wire_close() is left to call. Every callback runs from the loop; after wire_close()
 * none does. */
#ifndef KEYFOB_NOTIFIER_WAKE_SMPP_WIRE_H
#define KEYFOB_NOTIFIER_WAKE_SMPP_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct smpp_header;
struct smpp_target;
struct wire;

#define WIRE_OPEN_MS_MAX 5000		       /* for one address: TCP and TLS; and as much for the name */
#define WIRE_UNWRITTEN_MAX ((size_t)256 << 10) /* a peer that lets so much lie is lost */

struct wire_options { /* borrowed for the life of the wire */
	struct loop *loop;
	const struct smpp_target *target;
	const char *ca;
	void *owner;
	void (*on_open)(void *owner);
	void (*on_pdu)(void *owner, const struct smpp_header *, const uint8_t *pdu);
	void (*on_lost)(void *owner, const char *reason); /* a sentence, borrowed */
};

struct wire *wire_open(const struct wire_options *);
/* Does nothing when it is not open. */
void wire_write(struct wire *, const uint8_t *bytes, size_t len);
/* What was written and is not yet sent goes no further. NULL is fine. */
void wire_close(struct wire *);

#endif
