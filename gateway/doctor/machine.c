/* machine.c - what the machine gives a node: files that nobody else reads, a certificate, descriptors, the kernel's queues. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "gateway/certificate.h"
#include "gateway/config.h"
#include "gateway/doctor/doctor_internal.h"

#define CERTIFICATE_DAYS 14
#define DESCRIPTORS_BESIDES 1024 /* listeners, database, broker, feeds, files: docs/operations.md */

struct secrets {
	struct report *report;
	size_t seen, open;
};

static void look_at_secret(void *owner, const char *key, const char *file)
{
	struct secrets *s = owner;
	struct stat found;
	char advice[600];

	s->seen++;
	if (stat(file, &found) != 0 || !(found.st_mode & S_IRWXO))
		return;
	s->open++;
	snprintf(advice, sizeof(advice), "chmod o= %s", file);
	find(s->report, "secrets", VERDICT_FAILED, advice, "everybody on this machine may use %s (%s)", file,
		*key ? key : "a secret stands in it");
}

void check_secrets(struct patient *p)
{
	struct secrets s = { .report = p->report };

	config_each_secret_file(p->config, look_at_secret, &s);
	if (s.open == 0)
		find(p->report, "secrets", VERDICT_OK, "", "%zu file%s that others cannot read", s.seen,
			s.seen == 1 ? "" : "s");
}

void check_certificate(struct patient *p)
{
	const char *chain = p->config->http.tls.certificate;

	if (!chain)
		return;
	int64_t left_s = certificate_seconds_left(chain);
	if (left_s < 0)
		find(p->report, "certificate", VERDICT_FAILED, "put a new one in its place and send SIGHUP",
			"%s has expired", chain);
	else if (left_s < CERTIFICATE_DAYS * 86400)
		find(p->report, "certificate", VERDICT_WARNING, "put a new one in its place and send SIGHUP",
			"%s is good for %lld hours more", chain, (long long)left_s / 3600);
	else
		find(p->report, "certificate", VERDICT_OK, "", "%s is good for %lld days more", chain,
			(long long)left_s / 86400);
}

void check_descriptors(struct patient *p)
{
	rlim_t needed = (rlim_t)config_descriptors(p->config) + DESCRIPTORS_BESIDES;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	if (limit.rlim_max < needed)
		find(p->report, "descriptors", VERDICT_WARNING,
			"what counts is the service's: LimitNOFILE= of its unit, --ulimit nofile= of a container",
			"from here %llu can be opened, and http.max_connections may take %llu",
			(unsigned long long)limit.rlim_max, (unsigned long long)needed);
	else
		find(p->report, "descriptors", VERDICT_OK, "", "enough for %d connections",
			p->config->http.max_connections);
}

/* docs/operations.md says what each is for. */
static const struct {
	const char *file, *name;
	long least;
} queues[] = {
	{ "/proc/sys/net/core/somaxconn", "net.core.somaxconn", 1024 },
	{ "/proc/sys/net/ipv4/tcp_max_syn_backlog", "net.ipv4.tcp_max_syn_backlog", 1024 },
};

/* -1: it cannot be read. */
static long number_in(const char *file)
{
	char text[32] = "";
	FILE *f = fopen(file, "re");

	if (!f)
		return -1;
	if (!fgets(text, sizeof(text), f))
		text[0] = '\0';
	fclose(f);
	return *text ? strtol(text, NULL, 10) : -1;
}

void check_kernel(struct patient *p)
{
	size_t few = 0;

	for (size_t i = 0; i < sizeof(queues) / sizeof(*queues); i++) {
		long has = number_in(queues[i].file);
		char advice[128];
		if (has < 0 || has >= queues[i].least)
			continue;
		few++;
		snprintf(advice, sizeof(advice), "sysctl -w %s=%ld, and a line in /etc/sysctl.d", queues[i].name,
			queues[i].least);
		find(p->report, "kernel", VERDICT_WARNING, advice,
			"%s is %ld: a burst of new connections is dropped sooner", queues[i].name, has);
	}
	if (few == 0)
		find(p->report, "kernel", VERDICT_OK, "", "its queues for newcomers are long enough");
}
