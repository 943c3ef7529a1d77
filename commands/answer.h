/* answer.h - vehicles' responses, from the feed to the database and back to the vehicle.
 *
 * They are applied in the order in which they came, in batches; only after the commit is the broker given its
 * PUBACK (the receipt) and the vehicle its `accepted` or `rejected`. */
#ifndef KEYFOB_COMMANDS_ANSWER_H
#define KEYFOB_COMMANDS_ANSWER_H

struct answer_flow;
struct batch;
struct batch_fence;
struct batch_stage;
struct command_ports;
struct db;
struct dispatch;
struct loop;
struct mqtt_message;
struct receipt;

/* By the clock of `db` answers are dated. What came as an answer to a publish of this worker takes its PUBACK along (`dispatch`). */
struct answer_flow *answer_new(struct loop *, struct db *, const struct command_ports *, struct dispatch *dispatch);
void answer_free(struct answer_flow *);
struct batch_stage *answer_stage(struct answer_flow *);
void answer_attach(struct answer_flow *, struct batch *);
/* One message of a response feed; the receipt's share is closed when its effect is durable, or when it has none. */
void answer_receive(struct answer_flow *, const struct batch_fence *, const struct mqtt_message *, struct receipt *);

#endif
