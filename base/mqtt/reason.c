/* reason.c - libmosquitto's codes as sentences. */
#include "base/mqtt/reason.h"

#include <errno.h>
#include <mosquitto.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

static const char *sentence_of(int code);
static const char *detail_of(int code, int error);

void reason_write(int code, int error, const char *detail, char out[REASON_SIZE])
{
	if (code == MOSQ_ERR_ERRNO && error == 0)
		code = MOSQ_ERR_CONN_LOST; /* the end of the stream in the middle of a packet */
	if (!*detail)
		detail = detail_of(code, error);
	snprintf(out, REASON_SIZE, *detail ? "%s: %s" : "%s", sentence_of(code), detail);
}

static const struct {
	int code;
	const char *sentence;
} sentences[] = {
	{ MOSQ_ERR_CONN_LOST, "the broker closed the connection" },
	{ MOSQ_ERR_NO_CONN, "the connection is closed" },
	{ MOSQ_ERR_KEEPALIVE, "the broker did not answer a ping in time" },
	{ MOSQ_ERR_CONN_REFUSED, "the broker refused the connection" },
	{ MOSQ_ERR_PROTOCOL, "the broker broke the protocol" },
	{ MOSQ_ERR_TLS, "TLS failed" },
	{ MOSQ_ERR_EAI, "the broker's name cannot be resolved" },
	{ MOSQ_ERR_ERRNO, "the connection failed" },
};

static const char *sentence_of(int code)
{
	for (size_t i = 0; i < sizeof sentences / sizeof *sentences; i++)
		if (sentences[i].code == code)
			return sentences[i].sentence;
	return code >= 0x80 ? "the broker ended the connection" : "libmosquitto failed";
}

static const char *detail_of(int code, int error)
{
	if (code >= 0x80)
		return mosquitto_reason_string(code);
	if (code == MOSQ_ERR_EAI)
		return gai_strerror(error);
	if (code == MOSQ_ERR_ERRNO)
		return error == EPROTO ? "TLS failed" : strerror(error);
	return strcmp(sentence_of(code), sentence_of(-1)) == 0 ? mosquitto_strerror(code) : "";
}
