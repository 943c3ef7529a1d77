/* codec.h - the forms in which a vehicle and Keyfob speak of a command (`vehicle_protocol`): a codec for each at the
 * edge, one flow behind them.
 *
 * A codec knows topics and payloads, and nothing of what follows from them. What it has read looks the same whichever
 * way it came. */
#ifndef KEYFOB_COMMANDS_CODEC_H
#define KEYFOB_COMMANDS_CODEC_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/ids.h"
#include "commands/topic.h"

struct mqtt_message;
struct text;

#define CODEC_PAYLOAD_MAX (128 * 1024) /* of a response; contract §10 */

/* Why a response is not taken, as the vehicle hears it: the code of Keyfob's own protocol, the error of AWS's. */
struct refusal {
	const char *code, *error, *detail;
};
extern const struct refusal REFUSAL_MALFORMED, REFUSAL_TOO_LARGE, REFUSAL_UNKNOWN_REQUEST, REFUSAL_TERMINAL_STATE,
	REFUSAL_INVALID_TRANSITION;

/* A command on its way out; all borrowed. */
struct codec_request {
	const char *vehicle_id, *id, *name;
	const char *params, *sealed_params; /* JSON text, text; NULL when absent */
	const char *issued_at, *expires_at;
	int attempt;
};

/* A vehicle's response. Zero-initialise; codec_response_done() when done. */
struct codec_response {
	const struct codec *codec; /* by which it came, and by which it is answered */
	char vehicle_id[65];
	char execution[65];		/* AWS: the command as the topic names it, which the answer has to repeat */
	char id[UUID_TEXT_SIZE];	/* the command; "" when what was named cannot be one of ours */
	char named[65];			/* then what that was; "": nothing, or longer */
	const char *event;		/* its status, which is the event's name in the lifecycle */
	char *reason, *result, *sealed; /* JSON text, JSON text, text; NULL when absent */
	json_t *state;			/* reported along with it, NULL: none */
	int64_t state_version;		/* -1: none */
};

struct codec {
	const char *protocol; /* its name: `vehicle_protocol` */
	/* Where the request goes, and where its response is awaited. */
	void (*write_topics)(const struct codec_request *, char ret_request[TOPIC_SIZE], char ret_response[TOPIC_SIZE]);
	void (*write_request)(const struct codec_request *, struct text *);
	/* Whether responses come on such a topic; then whose. */
	bool (*read_topic)(const char *topic, struct codec_response *);
	/* NULL: it was read; else why not, and what could be read. */
	const struct refusal *(*read_body)(const struct mqtt_message *, struct codec_response *);
	/* The word that the response is durable, or why it is not taken. */
	void (*write_verdict)(
		const struct codec_response *, const struct refusal *, char ret_topic[TOPIC_SIZE], struct text *);
};

extern const struct codec CODEC_KEYFOB, CODEC_AWS;

/* NULL: no protocol is called so. */
const struct codec *codec_of(const char *protocol);
/* Sets the codec and the vehicle of a response by its topic; false: no response comes on such a topic. */
bool codec_read_topic(const char *topic, struct codec_response *);
/* A UUID in lower case, of what a vehicle named; false when it is none. */
bool codec_take_id(char ret[UUID_TEXT_SIZE], const char *text, size_t len);
void codec_response_done(struct codec_response *);

#endif
