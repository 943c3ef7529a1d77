/* descriptors.c - the broker's limit of descriptors. */
#include "state/broker/descriptors.h"

#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <sys/resource.h>

void descriptors_raise(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	mosquitto_log_printf(MOSQ_LOG_NOTICE, "keyfob: at most %llu descriptors, one for each connection",
		(unsigned long long)limit.rlim_max);
}
