/* write.c - writes PDUs by libsmpp34.
 *
 * The library keeps one log of what it packed for the whole process: a lock guards it, and it is wiped afterwards, for a
 * bind's password stands in it. Zeroed structs are its defaults; it counts the length itself. */
#include <arpa/inet.h>
#include <pthread.h>
#include <smpp34.h>
#include <smpp34_structs.h>
#include <stdio.h>
#include <string.h>

#include "base/smpp/pdu.h"

static size_t pack(uint8_t *out, uint32_t command, void *pdu)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	int len = 0;
	pthread_mutex_lock(&lock);
	int failed = smpp34_pack(command, out, (int)SMPP_WRITE_SIZE, &len, pdu);
	memset(smpp34_strerror, 0, sizeof smpp34_strerror);
	pthread_mutex_unlock(&lock);
	return failed ? 0 : (size_t)len;
}

/* Not the library's: it refuses the sequence number 0, with which strangers do begin, and statuses of a vendor's own. */
size_t smpp_write_header(uint8_t *out, uint32_t command, uint32_t status, uint32_t sequence)
{
	const uint32_t words[] = { htonl(SMPP_HEADER_SIZE), htonl(command), htonl(status), htonl(sequence) };
	memcpy(out, words, sizeof words);
	return sizeof words;
}

#define COPY(to, from) snprintf((char *)(to), sizeof(to), "%s", from)

size_t smpp_write_bind(uint8_t *out, uint32_t command, uint32_t sequence, const struct smpp_bind *b)
{
	if (command & SMPP_RESPONSE) {
		bind_transceiver_resp_t answer = { .command_id = command, .sequence_number = sequence };
		COPY(answer.system_id, b->system_id);
		return pack(out, BIND_TRANSCEIVER_RESP, &answer);
	}
	bind_transceiver_t bind = {
		.command_id = command, .sequence_number = sequence, .interface_version = SMPP_VERSION
	};
	COPY(bind.system_id, b->system_id);
	COPY(bind.password, b->password);
	return pack(out, BIND_TRANSCEIVER, &bind); /* the three have the same body; command_id says which it is */
}

static void add_tlv(tlv_t **list, tlv_t *tlv)
{
	tlv->next = *list;
	*list = tlv;
}

static void copy_text(uint8_t *to, const struct smpp_message *m)
{
	if (m->text_len > 0)
		memcpy(to, m->text, m->text_len);
}

static size_t write_submit(uint8_t *out, uint32_t sequence, const struct smpp_message *m)
{
	submit_sm_t pdu = {
		.command_id = SUBMIT_SM,
		.sequence_number = sequence,
		.source_addr_ton = m->source.ton,
		.source_addr_npi = m->source.npi,
		.dest_addr_ton = m->destination.ton,
		.dest_addr_npi = m->destination.npi,
		.esm_class = m->esm_class,
		.registered_delivery = m->registered_delivery,
		.data_coding = m->data_coding,
		.sm_length = (uint8_t)m->text_len,
	};
	COPY(pdu.source_addr, m->source.text);
	COPY(pdu.destination_addr, m->destination.text);
	COPY(pdu.validity_period, m->validity_period);
	copy_text(pdu.short_message, m);
	return pack(out, SUBMIT_SM, &pdu);
}

static size_t write_deliver(uint8_t *out, uint32_t sequence, const struct smpp_message *m)
{
	deliver_sm_t pdu = {
		.command_id = DELIVER_SM,
		.sequence_number = sequence,
		.source_addr_ton = m->source.ton,
		.source_addr_npi = m->source.npi,
		.dest_addr_ton = m->destination.ton,
		.dest_addr_npi = m->destination.npi,
		.esm_class = m->esm_class,
		.data_coding = m->data_coding,
		.sm_length = (uint8_t)m->text_len,
	};
	tlv_t id = { .tag = TLVID_receipted_message_id, .length = (uint16_t)(strlen(m->receipted_id) + 1) };
	tlv_t state = { .tag = TLVID_message_state, .length = 1, .value.val08 = (uint8_t)m->state };
	COPY(pdu.source_addr, m->source.text);
	COPY(pdu.destination_addr, m->destination.text);
	copy_text(pdu.short_message, m);
	COPY(id.value.octet, m->receipted_id);
	if (m->state != SMPP_STATE_NONE)
		add_tlv(&pdu.tlv, &state);
	if (*m->receipted_id)
		add_tlv(&pdu.tlv, &id);
	return pack(out, DELIVER_SM, &pdu);
}

size_t smpp_write_message(uint8_t *out, uint32_t command, uint32_t sequence, const struct smpp_message *m)
{
	if (m->text_len > SMPP_TEXT_MAX)
		return 0;
	return command == SMPP_SUBMIT_SM ? write_submit(out, sequence, m) : write_deliver(out, sequence, m);
}

/* A header and a C-octet string. */
size_t smpp_write_taken(uint8_t *out, uint32_t command, uint32_t sequence, const char *message_id)
{
	size_t len = smpp_write_header(out, command, SMPP_ROK, sequence);
	size_t size = strnlen(message_id, SMPP_ID_SIZE - 1) + 1;
	snprintf((char *)out + len, size, "%s", message_id);
	const uint32_t whole = htonl((uint32_t)(len + size));
	memcpy(out, &whole, sizeof whole);
	return len + size;
}
