/* wake.h - the SMS providers that the configuration names, ready to be made by the worker that submits. */
#ifndef KEYFOB_GATEWAY_WAKE_H
#define KEYFOB_GATEWAY_WAKE_H

#include <stdbool.h>
#include <stddef.h>

struct config;
struct loop;
struct sms_provider;
struct sms_receipts;
struct sms_setup;

/* `config` is borrowed for life; the setup lives as long as the process. The providers' names are in the order of wake.providers. */
struct sms_setup *sms_setup_new(const struct config *);
size_t sms_setup_names(const struct sms_setup *, const char *const **ret_names);
/* One worker of all nodes has them at a time: the SMS centre's account allows no second session. */
bool sms_setup_is_sole(const struct sms_setup *);
/* One provider for each name; they are the caller's. */
void sms_setup_make(const struct sms_setup *, struct loop *, const struct sms_receipts *, struct sms_provider **ret);

#endif
