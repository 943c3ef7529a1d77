/* sns.h - the provider "sns": Amazon SNS, Publish with a PhoneNumber (API of 2010-03-31), signed with Signature Version 4.
 *
 * It gives no receipts: SNS writes them to CloudWatch. */
#ifndef KEYFOB_NOTIFIER_WAKE_SNS_H
#define KEYFOB_NOTIFIER_WAKE_SNS_H

struct loop;
struct sms_provider;

struct sns_options { /* borrowed for life, what it points to as well */
	const char *region;
	const char *endpoint; /* NULL: the region's own */
	const char *access_key_id, *secret_access_key;
	const char *session_token; /* of temporary credentials; NULL: none */
};

struct sms_provider *sns_new(struct loop *, const struct sns_options *);

#endif
