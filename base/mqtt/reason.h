/* reason.h - what ended a connection, as a sentence for the log. */
#ifndef KEYFOB_BASE_MQTT_REASON_H
#define KEYFOB_BASE_MQTT_REASON_H

#define REASON_SIZE 256

/* `code` is libmosquitto's (MOSQ_ERR_…) or, from 0x80 on, an MQTT 5 reason code (§2.4). `error` is errno, or what
 * getaddrinfo() returned, for the codes that leave the rest to it. `detail` may be empty. */
void reason_write(int code, int error, const char *detail, char out[REASON_SIZE]);

#endif
