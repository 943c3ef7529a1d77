/* alert.h - tells those whom it concerns what was noticed of a vehicle (`security.alert`), or of who is told of it (`webhook.disabled`). */
#ifndef KEYFOB_GATEWAY_OPERATIONS_ALERT_H
#define KEYFOB_GATEWAY_OPERATIONS_ALERT_H

struct alerts;
struct batch;
struct batch_stage;

struct alerts *alerts_new(void);
struct batch_stage *alerts_stage(struct alerts *);
void alerts_attach(struct alerts *, struct batch *);
/* `data` is JSON text, `vehicle_id` what a caller said: one that does not exist has nobody to tell; while the database is away the log and the metric
 * alone have it. */
void alerts_raise(struct alerts *, const char *vehicle_id, const char *data);
/* The same of the event webhook.disabled: its subject hears it besides. Written once, however often it is called; whoever calls it comes again
 * (notifier/webhook/webhooks.h). */
void alerts_tell_disabled(struct alerts *, const char *vehicle_id, const char *data);

#endif
