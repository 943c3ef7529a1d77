/* main.c - keyfob-vehicle: reads the command line, runs a fleet of simulated vehicles, ends it cleanly. */
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "base/log.h"
#include "base/loop.h"
#include "commands/vehicle/fleet.h"
#include "commands/vehicle/journal.h"
#include "commands/vehicle/smsc.h"
#include "commands/vehicle/vehicle.h"

enum { EXIT_FINE = 0, EXIT_RUNTIME = 1, EXIT_USAGE = 2 };

#define PASSWORD_SIZE 4096
#define CONNECT_THREADS "64"   /* FLEET_CONNECTS_AT_ONCE: a connect blocks its thread */
#define DESCRIPTORS_EACH 2     /* a link's socket and the watched duplicate of it (and see socketpair.c) */
#define DESCRIPTORS_BESIDE 320 /* the process's own, and of those FLEET_CONNECTS_AT_ONCE that are being replaced */

struct arguments {
	struct fleet_options fleet;
	const char *url, *password_file, *log_file;
	bool is_asleep;
	struct sockaddr_storage smsc; /* ss_family 0: none */
};

struct program {
	struct loop *loop;
	struct fleet *fleet;
	struct journal *journal;
	struct smsc *smsc; /* NULL: none */
	uv_signal_t signals[4];
};

/* An option of the command line. `take` keeps the value, and says false when it is impossible. */
struct option_row {
	const char *name, *value_name; /* NULL: takes no value */
	bool (*take)(struct arguments *, const char *value);
	const char *help;
};

static bool take_url(struct arguments *, const char *);
static bool take_username(struct arguments *, const char *);
static bool take_password_file(struct arguments *, const char *);
static bool take_id(struct arguments *, const char *);
static bool take_prefix(struct arguments *, const char *);
static bool take_count(struct arguments *, const char *);
static bool take_latency(struct arguments *, const char *);
static bool take_fail_rate(struct arguments *, const char *);
static bool take_progress(struct arguments *, const char *);
static bool take_silent(struct arguments *, const char *);
static bool take_asleep(struct arguments *, const char *);
static bool take_flap(struct arguments *, const char *);
static bool take_awake_for(struct arguments *, const char *);
static bool take_birth(struct arguments *, const char *);
static bool take_smsc(struct arguments *, const char *);
static bool resolve(int family, const char *host, const char *port, struct sockaddr_storage *ret);
static bool take_log(struct arguments *, const char *);
static bool take_help(struct arguments *, const char *);
static bool take_version(struct arguments *, const char *);

static const struct option_row rows[] = {
	{ "url", "URL", take_url, "the broker: mqtt://HOST:PORT[,HOST:PORT] or mqtts://… (mqtt://127.0.0.1:1883)" },
	{ "username", "NAME", take_username, "{id} in it stands for the vehicle's id (default: the id)" },
	{ "password-file", "FILE", take_password_file, "its first line is the password" },
	{ "id", "ID", take_id, "one vehicle of this id: at most 64 letters, digits and . _ : -" },
	{ "prefix", "P", take_prefix, "or many: P00001, P00002 and on; at most 59 such characters" },
	{ "count", "N", take_count, "… so many of them, at most 99999 (1); each takes 2 descriptors" },
	{ "latency", "DURATION", take_latency, "from doing a command to its answer (50ms)" },
	{ "fail-rate", "RATE", take_fail_rate, "the part of the commands that fail, 0 to 1 (0)" },
	{ "progress", NULL, take_progress, "answers in_progress first" },
	{ "silent", NULL, take_silent, "does what it is asked and never answers" },
	{ "asleep", NULL, take_asleep,
		"begins offline, and comes online at SIGUSR1 (SIGUSR2: sleeps again) or by SMS" },
	{ "flap", "DURATION", take_flap, "leaves and comes back at this pace, such as 2s" },
	{ "birth", NULL, take_birth, "tells by birth and will that it is there, where the broker tells nobody" },
	{ "smsc", "HOST:PORT", take_smsc,
		"listens there as an SMS centre (SMPP 3.4): an SMS with a vehicle's id wakes it" },
	{ "awake-for", "DURATION", take_awake_for, "sleeps (again) when so long nothing came, such as 30s" },
	{ "log", "FILE", take_log, "appends a JSON object for each thing received, executed, answered" },
	{ "help", NULL, take_help, "this text" },
	{ "version", NULL, take_version, "the version" },
};
#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

static void read_arguments(struct arguments *, int argc, char **argv);
static _Noreturn void refuse_value(const struct option_row *, const char *value);
static void check_arguments(struct arguments *);
static const char *read_password(const char *path, char password[PASSWORD_SIZE]);
static void make_room(size_t vehicles);
static void start_smsc(struct program *, const struct arguments *);
static bool on_sms(void *owner, const struct smsc_sms *);
static void start_signals(struct program *);
static void on_signal(uv_signal_t *, int);
static void end(struct program *);
static void on_fleet_closed(void *owner);
static _Noreturn void fail(int code, const char *what, const char *why);

int main(int argc, char **argv)
{
	static char password[PASSWORD_SIZE];
	struct arguments arguments = { .url = "mqtt://127.0.0.1:1883", .fleet.manner.latency_ms = 50 };
	read_arguments(&arguments, argc, argv);
	check_arguments(&arguments);
	arguments.fleet.broker.password = read_password(arguments.password_file, password);
	make_room(arguments.fleet.count);
	/* a line for each link that comes and goes would be thousands: the fleet speaks for all */
	log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);

	struct program program = { .loop = loop_new() };
	srand48((long)(loop_unix_us(program.loop) ^ getpid()));
	if (arguments.log_file != NULL) {
		program.journal = journal_open(program.loop, arguments.log_file);
		if (program.journal == NULL)
			fail(EXIT_RUNTIME, arguments.log_file, strerror(errno));
	}
	arguments.fleet.journal = program.journal;
	program.fleet = fleet_new(program.loop, &arguments.fleet);
	start_smsc(&program, &arguments);
	start_signals(&program);
	if (!arguments.is_asleep)
		fleet_wake(program.fleet);
	loop_run(program.loop);

	fleet_free(program.fleet);
	journal_close(program.journal);
	loop_free(program.loop);
	mqtt_broker_forget(&arguments.fleet.broker);
	return EXIT_FINE;
}

/* the command line */

static void read_arguments(struct arguments *arguments, int argc, char **argv)
{
	struct option options[ROW_COUNT + 1] = { 0 };
	for (size_t i = 0; i < ROW_COUNT; i++)
		options[i] = (struct option){
			.name = rows[i].name,
			.has_arg = rows[i].value_name != NULL ? required_argument : no_argument,
		};

	int index;
	for (int seen; (seen = getopt_long(argc, argv, "", options, &index)) != -1;) {
		if (seen != 0)
			fail(EXIT_USAGE, NULL, NULL); /* getopt_long has said what is wrong */
		if (!rows[index].take(arguments, optarg))
			refuse_value(&rows[index], optarg);
	}
	if (optind < argc)
		fail(EXIT_USAGE, argv[optind], "an unexpected argument");
}

static _Noreturn void refuse_value(const struct option_row *row, const char *value)
{
	char what[32], why[512];

	snprintf(what, sizeof(what), "--%s", row->name);
	snprintf(why, sizeof(why), "an impossible value: %.200s (%s: %s)", value, row->value_name, row->help);
	fail(EXIT_USAGE, what, why);
}

static void check_arguments(struct arguments *arguments)
{
	struct fleet_options *fleet = &arguments->fleet;
	if ((fleet->id == NULL) == (fleet->prefix == NULL))
		fail(EXIT_USAGE, "--id, --prefix", "exactly one of the two is needed");
	if (fleet->id != NULL && fleet->count > 0)
		fail(EXIT_USAGE, "--count", "goes with --prefix");
	if (fleet->count == 0)
		fleet->count = 1;
	if (!mqtt_url_parse(arguments->url, &fleet->broker))
		fail(EXIT_USAGE, "--url", "not mqtt://HOST:PORT or mqtts://HOST:PORT");
}

static bool take_url(struct arguments *arguments, const char *value)
{
	arguments->url = value;
	return true;
}

static bool take_username(struct arguments *arguments, const char *value)
{
	arguments->fleet.username = value;
	return *value != '\0';
}

static bool take_password_file(struct arguments *arguments, const char *value)
{
	arguments->password_file = value;
	return true;
}

static bool take_id(struct arguments *arguments, const char *value)
{
	arguments->fleet.id = value;
	return vehicle_id_is_valid(value);
}

/* Five digits follow it. */
static bool take_prefix(struct arguments *arguments, const char *value)
{
	arguments->fleet.prefix = value;
	return vehicle_id_is_valid(value) && strlen(value) + 5 < VEHICLE_ID_SIZE;
}

static bool take_count(struct arguments *arguments, const char *value)
{
	char *end;
	errno = 0;
	unsigned long count = strtoul(value, &end, 10);
	arguments->fleet.count = count;
	return errno == 0 && strspn(value, "0123456789") == (size_t)(end - value) && *end == '\0' && count >= 1 &&
	       count <= FLEET_SIZE_MAX;
}

/* `500ms`, `30s`, `5m`, `24h`, up to 30 days. */
static bool read_duration(const char *value, int64_t *ret_ms)
{
	static const struct {
		const char *name;
		int64_t ms;
	} units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60 * 1000 }, { "h", 60 * 60 * 1000 } };
	size_t digits = strspn(value, "0123456789");
	if (digits == 0 || digits > 9)
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(value + digits, units[i].name) == 0) {
			*ret_ms = strtoll(value, NULL, 10) * units[i].ms;
			return *ret_ms <= INT64_C(30) * 24 * 60 * 60 * 1000;
		}
	return false;
}

static bool take_latency(struct arguments *arguments, const char *value)
{
	return read_duration(value, &arguments->fleet.manner.latency_ms);
}

static bool take_fail_rate(struct arguments *arguments, const char *value)
{
	char *end;
	arguments->fleet.manner.fail_rate = strtod(value, &end);
	return end != value && *end == '\0' && arguments->fleet.manner.fail_rate >= 0 &&
	       arguments->fleet.manner.fail_rate <= 1;
}

static bool take_progress(struct arguments *arguments, const char *value)
{
	(void)value;
	return arguments->fleet.manner.tells_progress = true;
}

static bool take_silent(struct arguments *arguments, const char *value)
{
	(void)value;
	return arguments->fleet.manner.is_silent = true;
}

static bool take_asleep(struct arguments *arguments, const char *value)
{
	(void)value;
	return arguments->is_asleep = true;
}

static bool take_flap(struct arguments *arguments, const char *value)
{
	return read_duration(value, &arguments->fleet.flap_ms) && arguments->fleet.flap_ms > 0;
}

static bool take_awake_for(struct arguments *arguments, const char *value)
{
	return read_duration(value, &arguments->fleet.awake_for_ms) && arguments->fleet.awake_for_ms > 0;
}

static bool take_birth(struct arguments *arguments, const char *value)
{
	(void)value;
	return arguments->fleet.tells_itself = true;
}

/* A name, or an address; IPv6 in brackets. */
static bool take_smsc(struct arguments *arguments, const char *value)
{
	char host[NI_MAXHOST];
	const char *colon = strrchr(value, ':');
	bool bracketed = *value == '[' && colon != NULL && colon[-1] == ']';
	if (colon == NULL || (size_t)(colon - value) >= sizeof(host) ||
		strspn(colon + 1, "0123456789") != strlen(colon + 1))
		return false;
	int len = (int)(colon - value) - 2 * bracketed, port = atoi(colon + 1);
	snprintf(host, sizeof(host), "%.*s", len, value + bracketed);
	if (strlen(colon + 1) > 5 || port < 1 || port > 65535)
		return false;
	return len > 0 && (bracketed ? resolve(AF_INET6, host, colon + 1, &arguments->smsc)
				     : resolve(AF_INET, host, colon + 1, &arguments->smsc) ||
						  resolve(AF_INET6, host, colon + 1, &arguments->smsc));
}

/* A name's IPv4 address, where it has one: whoever calls 127.0.0.1 is to find who listens on localhost. */
static bool resolve(int family, const char *host, const char *port, struct sockaddr_storage *ret)
{
	struct addrinfo *found;
	struct addrinfo hints = { .ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	if (getaddrinfo(host, port, &hints, &found) != 0)
		return false;
	memcpy(ret, found->ai_addr, found->ai_addrlen);
	freeaddrinfo(found);
	return true;
}

static bool take_log(struct arguments *arguments, const char *value)
{
	arguments->log_file = value;
	return true;
}

static bool take_help(struct arguments *arguments, const char *value)
{
	(void)arguments, (void)value;
	puts("keyfob-vehicle (--id ID | --prefix P --count N) [options]\n\n"
	     "One or thousands of simulated vehicles that speak MQTT 5 with a Keyfob node's broker.\n");
	for (const struct option_row *row = rows; row < rows + ROW_COUNT; row++) {
		int width = printf("  --%s %s", row->name, row->value_name != NULL ? row->value_name : "");
		printf("%*s%s\n", 28 - width, "", row->help);
	}
	exit(EXIT_FINE);
}

static bool take_version(struct arguments *arguments, const char *value)
{
	(void)arguments, (void)value;
	puts("keyfob-vehicle " KEYFOB_VERSION);
	exit(EXIT_FINE);
}

/* what it needs of the machine */

static const char *read_password(const char *path, char password[PASSWORD_SIZE])
{
	if (path == NULL)
		return NULL;
	FILE *file = fopen(path, "re");
	if (file == NULL)
		fail(EXIT_RUNTIME, path, strerror(errno));
	if (fgets(password, PASSWORD_SIZE, file) == NULL)
		password[0] = '\0';
	fclose(file);
	password[strcspn(password, "\r\n")] = '\0';
	return password;
}

static void make_room(size_t vehicles)
{
	signal(SIGPIPE, SIG_IGN);
	if (vehicles > 1)
		setenv("UV_THREADPOOL_SIZE", CONNECT_THREADS, 0);

	struct rlimit limit;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	rlim_t needed = vehicles * DESCRIPTORS_EACH + DESCRIPTORS_BESIDE;
	if (limit.rlim_cur >= needed)
		return;
	char why[160];
	snprintf(why, sizeof(why),
		"so many take %ju descriptors, and this process may have %ju: ulimit -Hn, or several processes",
		(uintmax_t)needed, (uintmax_t)limit.rlim_cur);
	fail(EXIT_RUNTIME, "--count", why);
}

/* from here on the loop runs */

static void start_smsc(struct program *program, const struct arguments *arguments)
{
	const char *reason;
	if (arguments->smsc.ss_family == 0)
		return;
	program->smsc = smsc_open(program->loop,
		&(struct smsc_options){
			.address = (const struct sockaddr *)&arguments->smsc,
			.owner = program,
			.on_sms = on_sms,
		},
		&reason);
	if (program->smsc == NULL)
		fail(EXIT_RUNTIME, "--smsc", reason);
}

static bool on_sms(void *owner, const struct smsc_sms *sms)
{
	struct program *program = owner;
	return fleet_take_sms(program->fleet, sms);
}

static const int signal_numbers[] = { SIGTERM, SIGINT, SIGUSR1, SIGUSR2 };

static void start_signals(struct program *program)
{
	for (size_t i = 0; i < sizeof(signal_numbers) / sizeof(signal_numbers[0]); i++) {
		uv_signal_init(loop_uv(program->loop), &program->signals[i]);
		program->signals[i].data = program;
		uv_signal_start(&program->signals[i], on_signal, signal_numbers[i]);
	}
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct program *program = handle->data;
	if (number == SIGUSR1)
		fleet_wake(program->fleet);
	else if (number == SIGUSR2)
		fleet_rest(program->fleet);
	else
		end(program);
}

static void end(struct program *program)
{
	smsc_close(program->smsc);
	program->smsc = NULL;
	fleet_close(program->fleet, on_fleet_closed, program);
}

static void on_fleet_closed(void *owner)
{
	struct program *program = owner;
	for (size_t i = 0; i < sizeof(signal_numbers) / sizeof(signal_numbers[0]); i++)
		uv_close((uv_handle_t *)&program->signals[i], NULL);
	loop_stop(program->loop);
}

static _Noreturn void fail(int code, const char *what, const char *why)
{
	if (what != NULL)
		fprintf(stderr, "keyfob-vehicle: %s: %s\n", what, why);
	if (code == EXIT_USAGE)
		fprintf(stderr, "keyfob-vehicle --help tells the options\n");
	exit(code);
}
