/* topic.h - the topics of commands, built from a checked vehicle id and nowhere else. */
#ifndef KEYFOB_COMMANDS_TOPIC_H
#define KEYFOB_COMMANDS_TOPIC_H

#include <stdbool.h>

#define TOPIC_SIZE 192
#define FEED_COUNT 32

/* The vehicle's feed, 0 to 31, for ever: CRC-32 of its id modulo 32. */
unsigned topic_feed(const char *vehicle_id);
/* The same in its two digits, as arrays of SQL parameters and topics have it. */
#define FEED_NAME_SIZE 3
void topic_feed_name(const char *vehicle_id, char out[FEED_NAME_SIZE]);
void topic_request(const char *vehicle_id, char out[TOPIC_SIZE]);
void topic_response(const char *vehicle_id, char out[TOPIC_SIZE]);
/* Where a vehicle hears that its response is durable, or why it is not taken. */
void topic_verdict(const char *vehicle_id, bool accepted, char out[TOPIC_SIZE]);
/* The vehicle id of vehicles/{id}/commands/response/{feed}; false when the topic is another or the feed is not the vehicle's. */
bool topic_response_read(const char *topic, char ret_vehicle_id[65]);

/* AWS IoT Commands: $aws/commands/things/{id}/executions/{execution}/{rest}, of two checked levels. */
void topic_execution(const char *vehicle_id, const char *execution, const char *rest, char out[TOPIC_SIZE]);
/* The two levels of such a topic; false when it is another, or they are not what may be a level. */
bool topic_execution_read(const char *topic, const char *rest, char ret_vehicle_id[65], char ret_execution[65]);

#endif
