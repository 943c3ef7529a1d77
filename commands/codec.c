/* codec.c - the codecs that there are, and what they have in common. */
#include "commands/codec.h"

#include <stdlib.h>
#include <string.h>

const struct refusal REFUSAL_MALFORMED = { "MALFORMED", "InvalidRequest", "the response cannot be read" };
const struct refusal REFUSAL_TOO_LARGE = { "TOO_LARGE", "InvalidRequest", "the payload is larger than 128 KiB" };
const struct refusal REFUSAL_UNKNOWN_REQUEST = { "UNKNOWN_REQUEST", "ResourceNotFound",
	"this vehicle was sent no such request" };
const struct refusal REFUSAL_TERMINAL_STATE = { "TERMINAL_STATE", "TerminalStateReached",
	"the request has its final answer" };
const struct refusal REFUSAL_INVALID_TRANSITION = { "INVALID_TRANSITION", "InvalidStateTransition",
	"the request cannot take this status now" };

static const struct codec *const codecs[] = { &CODEC_KEYFOB, &CODEC_AWS };
#define CODEC_COUNT (sizeof(codecs) / sizeof(codecs[0]))

const struct codec *codec_of(const char *protocol)
{
	for (size_t i = 0; i < CODEC_COUNT; i++) {
		if (strcmp(codecs[i]->protocol, protocol) == 0)
			return codecs[i];
	}
	return NULL;
}

bool codec_read_topic(const char *topic, struct codec_response *r)
{
	for (size_t i = 0; i < CODEC_COUNT; i++) {
		if (codecs[i]->read_topic(topic, r)) {
			r->codec = codecs[i];
			return true;
		}
	}
	return false;
}

bool codec_take_id(char ret[UUID_TEXT_SIZE], const char *text, size_t len)
{
	char copy[UUID_TEXT_SIZE];

	if (len != UUID_TEXT_SIZE - 1)
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (!uuid_is_text(copy))
		return false;
	for (size_t i = 0; i <= len; i++)
		ret[i] = (char)(copy[i] >= 'A' && copy[i] <= 'F' ? copy[i] - 'A' + 'a' : copy[i]);
	return true;
}

void codec_response_done(struct codec_response *r)
{
	free(r->reason);
	free(r->result);
	free(r->sealed);
	json_decref(r->state);
	*r = (struct codec_response){ 0 };
}
