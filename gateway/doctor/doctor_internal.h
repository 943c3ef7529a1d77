/* doctor_internal.h - what the checks share: the patient, and how they say what they found. */
#ifndef KEYFOB_GATEWAY_DOCTOR_INTERNAL_H
#define KEYFOB_GATEWAY_DOCTOR_INTERNAL_H

#include <stdbool.h>

#include "gateway/doctor/doctor.h"

struct config;
struct mqtt_broker;
struct report;

struct patient {
	struct report *report;
	const struct config *config;
	bool has_node; /* a node with this configuration runs and holds its ports */
};

/* `advice` "": there is nothing to do. */
void find(struct report *, const char *check, enum verdict, const char *advice, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

/* the checks, in the order of doctor.c */
void check_secrets(struct patient *);
void check_certificate(struct patient *);
void check_descriptors(struct patient *);
void check_kernel(struct patient *);
void check_node(struct patient *); /* sets has_node */
void check_ports(struct patient *);
void check_issuers(struct patient *);
void check_database(struct patient *);
void check_broker(struct patient *);
/* of one host, where the plugin keeps watch; part of check_broker() */
void check_habits(struct patient *, const struct mqtt_broker *);

#endif
