/* pdu.h - the PDUs of SMPP 3.4 that an SMS centre and its client exchange, read from bytes and written to bytes.
 *
 * Reading is ours: nobody vouches for the bytes, and libsmpp34's own reading writes behind its log of 2 KiB when a PDU has
 * some 40 optional parameters (docs/decisions/). Writing is libsmpp34's. What is read is borrowed from the bytes where it
 * says so and copied where it is short; nothing here owns anything. */
#ifndef KEYFOB_BASE_SMPP_PDU_H
#define KEYFOB_BASE_SMPP_PDU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SMPP_PDU_MAX ((size_t)64 << 10) /* a longer one ends the connection */
#define SMPP_HEADER_SIZE ((size_t)16)
#define SMPP_WRITE_SIZE ((size_t)1024) /* what is written always fits */
#define SMPP_TEXT_MAX ((size_t)253)    /* octets of a short_message */

/* sizes with the NUL: §4.1.1, §4.4.1, §4.4.2 */
#define SMPP_SYSTEM_ID_SIZE 16
#define SMPP_PASSWORD_SIZE 9
#define SMPP_ADDRESS_SIZE 21
#define SMPP_TIME_SIZE 17
#define SMPP_ID_SIZE 65

/* §5.1.2.1; a response is its request with the highest bit set */
#define SMPP_RESPONSE 0x80000000u
enum {
	SMPP_BIND_RECEIVER = 0x1,
	SMPP_BIND_TRANSMITTER = 0x2,
	SMPP_SUBMIT_SM = 0x4,
	SMPP_DELIVER_SM = 0x5,
	SMPP_UNBIND = 0x6,
	SMPP_BIND_TRANSCEIVER = 0x9,
	SMPP_OUTBIND = 0xb,
	SMPP_ENQUIRE_LINK = 0x15,
	SMPP_ALERT_NOTIFICATION = 0x102,
};
#define SMPP_GENERIC_NACK SMPP_RESPONSE

/* §5.1.3, those that the code itself speaks of */
enum {
	SMPP_ROK = 0x0,
	SMPP_RINVMSGLEN = 0x1,
	SMPP_RINVCMDLEN = 0x2,
	SMPP_RINVCMDID = 0x3,
	SMPP_RINVBNDSTS = 0x4,
	SMPP_RALYBND = 0x5,
	SMPP_RBINDFAIL = 0xd,
	SMPP_RMSGQFUL = 0x14,
	SMPP_RTHROTTLED = 0x58,
	SMPP_RX_T_APPN = 0x64,
	SMPP_RX_P_APPN = 0x65,
};

/* §5.2.5, §5.2.6 */
enum { SMPP_TON_UNKNOWN = 0, SMPP_TON_INTERNATIONAL = 1, SMPP_TON_NETWORK = 3, SMPP_TON_ALPHANUMERIC = 5 };
enum { SMPP_NPI_UNKNOWN = 0, SMPP_NPI_ISDN = 1 };

/* §5.2.12: what kind of message a deliver_sm brings */
#define SMPP_ESM_KIND 0x3c
enum { SMPP_ESM_RECEIPT = 0x04, SMPP_ESM_INTERMEDIATE = 0x20 };

/* §5.2.28 */
enum smpp_state {
	SMPP_STATE_NONE = -1, /* the PDU has none */
	SMPP_STATE_ENROUTE = 1,
	SMPP_STATE_DELIVERED = 2,
	SMPP_STATE_EXPIRED = 3,
	SMPP_STATE_DELETED = 4,
	SMPP_STATE_UNDELIVERABLE = 5,
	SMPP_STATE_ACCEPTED = 6,
	SMPP_STATE_UNKNOWN = 7,
	SMPP_STATE_REJECTED = 8,
};

struct smpp_header {
	uint32_t length; /* of the whole PDU */
	uint32_t command, status, sequence;
};

struct smpp_bind {
	char system_id[SMPP_SYSTEM_ID_SIZE], password[SMPP_PASSWORD_SIZE];
};

struct smpp_address {
	uint8_t ton, npi;
	char text[SMPP_ADDRESS_SIZE];
};

/* A submit_sm (§4.4.1) or a deliver_sm (§4.6.1). */
struct smpp_message {
	struct smpp_address source, destination;
	uint8_t esm_class, registered_delivery, data_coding;
	char validity_period[SMPP_TIME_SIZE]; /* §7.1.1; "": the centre's own */
	const uint8_t *text;		      /* borrowed: short_message, or the parameter message_payload */
	size_t text_len;
	char receipted_id[SMPP_ID_SIZE]; /* "": the PDU has none that is plain */
	int state;			 /* enum smpp_state, or a number that SMPP does not know */
};

/* reading */
enum smpp_frame {
	SMPP_FRAME_WHOLE, /* the first ret->length of the bytes are a PDU */
	SMPP_FRAME_HALF,  /* more must come */
	SMPP_FRAME_WRONG, /* these bytes are no SMPP, or too long */
};
enum smpp_frame smpp_frame(const uint8_t *bytes, size_t len, struct smpp_header *ret);
/* Whole PDUs of `len` bytes. false: malformed, and *ret is not to be used. */
bool smpp_read_bind(const uint8_t *pdu, size_t len, struct smpp_bind *ret);
bool smpp_read_message(const uint8_t *pdu, size_t len, struct smpp_message *ret);
/* Printable ASCII without spaces, and not empty. */
bool smpp_id_is_plain(const char *id);
/* The message_id of a submit_sm_resp. false: none, or none that is plain. */
bool smpp_read_id(const uint8_t *pdu, size_t len, char ret[SMPP_ID_SIZE]);

/* writing to `out`, which has SMPP_WRITE_SIZE bytes: how long it became; 0 when that cannot be written (a TON that SMPP does not know, a text too long). The calls
 * may come from any thread. */
size_t smpp_write_header(uint8_t *out, uint32_t command, uint32_t status, uint32_t sequence);
/* `command`: one of the three binds, or its response (which has the system_id alone). */
size_t smpp_write_bind(uint8_t *out, uint32_t command, uint32_t sequence, const struct smpp_bind *);
size_t smpp_write_message(uint8_t *out, uint32_t command, uint32_t sequence, const struct smpp_message *);
/* A submit_sm_resp or a deliver_sm_resp; the latter's id is always empty (§4.6.2). */
size_t smpp_write_taken(uint8_t *out, uint32_t command, uint32_t sequence, const char *message_id);

#endif
