/* servers.c - starts and ends the servers that the suites talk to, each by its own process id. */
#include "tests/servers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <grp.h>
#include <libpq-fe.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define POSTGRES_BIN "/usr/lib/postgresql/15/bin/"
#define READY_MS_MAX 60000
#define ROOM_BYTES_MIN (UINT64_C(4) << 30)
#define STALE_SECONDS 60

__attribute__((noreturn, format(printf, 1, 2))) static void give_up(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	fputs("test server: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

int test_free_port(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) ||
		getsockname(fd, (struct sockaddr *)&address, &size))
		give_up("no free port: %s", strerror(errno));
	close(fd);
	return ntohs(address.sin_port);
}

/* Processes. */

static const struct passwd *server_user(void)
{
	if (getuid() != 0)
		return NULL;
	const struct passwd *user = getpwnam("postgres");
	if (!user)
		give_up("there is no user postgres");
	return user;
}

/* In the child. The signal must be asked for after the change of user, which forgets it. */
static void become(const struct passwd *user)
{
	if (user && (initgroups(user->pw_name, user->pw_gid) || setgid(user->pw_gid) || setuid(user->pw_uid)))
		_exit(126);
	prctl(PR_SET_PDEATHSIG, SIGQUIT);
}

static void write_output_to(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || null < 0)
		_exit(126);
	dup2(null, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
}

/* As `user`; NULL: as who we are. `notify` is where systemd would listen for "READY=1"; NULL: nobody does. */
static pid_t launch(const struct passwd *user, const char *log, const char *notify, const char *const argv[])
{
	pid_t pid = fork();
	if (pid < 0)
		give_up("fork: %s", strerror(errno));
	if (pid > 0)
		return pid;
	become(user);
	write_output_to(log);
	setenv("LC_ALL", "C.UTF-8", 1);
	if (notify)
		setenv("NOTIFY_SOCKET", notify, 1);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(argv[0], (char *const *)argv);
	_exit(127);
}

static int wait_for_end(pid_t pid)
{
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			give_up("waitpid: %s", strerror(errno));
	return status;
}

static void give_up_with_log(const char *what, const char *log)
{
	char line[512];
	FILE *file = fopen(log, "re");
	while (file && fgets(line, sizeof line, file))
		fputs(line, stderr);
	give_up("%s", what);
}

/* Readiness: the servers of Debian tell systemd when they are; here the test plays systemd (sd_notify(3)). */

static int listen_for_ready(char name[static 64])
{
	static int count;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int len = snprintf(name, 64, "@keyfob-test-%d-%d", (int)getpid(), count++);
	memcpy(address.sun_path + 1, name + 1, (size_t)len - 1);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len)))
		give_up("%s: %s", name, strerror(errno));
	return fd;
}

static int says_ready(int fd)
{
	char text[512];
	ssize_t len = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
	if (len < 0)
		return 0;
	text[len] = 0;
	return strstr(text, "READY=1") != NULL;
}

static void wait_for_ready(int fd, pid_t pid, const char *log)
{
	int process = pidfd_open(pid, 0);
	struct pollfd polled[] = { { .fd = fd, .events = POLLIN }, { .fd = process, .events = POLLIN } };
	do {
		if (poll(polled, 2, READY_MS_MAX) <= 0)
			give_up_with_log("not ready in time", log);
		if (polled[1].revents)
			give_up_with_log("it ended while starting", log);
	} while (!says_ready(fd));
	close(process);
	close(fd);
}

/* PostgreSQL. */

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	(void)st, (void)kind, (void)where;
	return remove(path);
}

/* In memory where there is room for it: a database is hundreds of files, and what a test's holds need not outlive the machine. */
static const char *room(void)
{
	struct statvfs st;
	bool is_roomy = statvfs("/dev/shm", &st) == 0 && st.f_bavail > ROOM_BYTES_MIN / st.f_frsize;
	return is_roomy && access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp";
}

/* Whoever made it holds a lock on it for as long as he lives. */
static int lock_folder(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* What somebody left behind who was killed, lest it fill the memory. One that is new may be about to be locked. */
static void sweep(const char *where)
{
	char pattern[40];
	glob_t found;

	snprintf(pattern, sizeof pattern, "%s/keyfob-pg-*", where);
	if (glob(pattern, 0, NULL, &found) != 0)
		return;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		struct stat st;
		int lock = stat(found.gl_pathv[i], &st) == 0 && time(NULL) - st.st_mtime > STALE_SECONDS
				   ? lock_folder(found.gl_pathv[i])
				   : -1;
		if (lock < 0)
			continue;
		nftw(found.gl_pathv[i], remove_one, 16, FTW_DEPTH | FTW_PHYS);
		close(lock);
	}
	globfree(&found);
}

static void make_folder(struct test_postgres *pg)
{
	const struct passwd *user = server_user();
	const char *where = room();

	if (strcmp(where, "/tmp") != 0)
		sweep(where);
	snprintf(pg->dir, sizeof pg->dir, "%s/keyfob-pg-XXXXXX", where);
	if (!mkdtemp(pg->dir) || (pg->lock = lock_folder(pg->dir)) < 0 ||
		(user && chown(pg->dir, user->pw_uid, user->pw_gid)))
		give_up("%s: %s", pg->dir, strerror(errno));
}

static void copy_cluster(const char *from, const char *to, const char *log)
{
	const char *const argv[] = { "/bin/cp", "-a", from, to, NULL };
	if (wait_for_end(launch(NULL, log, NULL, argv)))
		give_up_with_log("the cluster could not be copied", log);
}

void test_postgres_keep(const struct test_postgres *pg, const char *folder)
{
	char data[64], log[64];
	snprintf(data, sizeof data, "%s/data", pg->dir);
	snprintf(log, sizeof log, "%s/cp.log", pg->dir);
	nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	copy_cluster(data, folder, log);
}

static void make_cluster(const struct test_postgres *pg)
{
	char log[64], data[64];
	const char *seed = getenv("KEYFOB_TEST_CLUSTER");
	snprintf(log, sizeof log, "%s/initdb.log", pg->dir);
	snprintf(data, sizeof data, "%s/data", pg->dir);
	if (seed) {
		copy_cluster(seed, data, log);
		return;
	}
	const char *const argv[] = { POSTGRES_BIN "initdb", "-D", data, "-U", "keyfob", "-A", "trust", "-E", "UTF8",
		"--locale=C.UTF-8", "--no-sync", "--no-instructions", NULL };
	if (wait_for_end(launch(server_user(), log, NULL, argv)))
		give_up_with_log("initdb failed", log);
}

void test_postgres_start(struct test_postgres *pg)
{
	*pg = (struct test_postgres){ .port = test_free_port() };
	snprintf(pg->url, sizeof pg->url, "postgresql://keyfob@127.0.0.1:%d/postgres", pg->port);
	make_folder(pg);
	make_cluster(pg);
	test_postgres_resume(pg);
}

void test_postgres_resume(struct test_postgres *pg)
{
	char log[64], data[64], port[16], notify[64];
	snprintf(log, sizeof log, "%s/log", pg->dir);
	snprintf(data, sizeof data, "%s/data", pg->dir);
	snprintf(port, sizeof port, "%d", pg->port);
	const char *const argv[] = { POSTGRES_BIN "postgres", "-D", data, "-p", port, "-k", pg->dir, "-c",
		"listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "shared_buffers=64MB", "-c",
		"logging_collector=off", "-c", "jit=off", NULL }; /* as sql/db.c has it for a node */
	int fd = listen_for_ready(notify);
	pg->pid = launch(server_user(), log, notify, argv);
	wait_for_ready(fd, pg->pid, log);
}

static void disconnect(void);

void test_postgres_halt(struct test_postgres *pg, int signal)
{
	disconnect();
	kill(pg->pid, signal);
	wait_for_end(pg->pid);
	pg->pid = 0;
}

/* Locks are taken in one order everywhere: what a node would repeat, and nobody notice, is a mistake. By the log, since what a server has
 * counted is gone when it is killed. */
static bool show_deadlock(const struct test_postgres *pg)
{
	char path[64], line[512];
	int shown = 0; /* with what PostgreSQL says of it */

	snprintf(path, sizeof path, "%s/log", pg->dir);
	FILE *file = fopen(path, "re");
	while (file && shown < 8 && fgets(line, sizeof line, file)) {
		if (shown == 0 && !strstr(line, "deadlock detected"))
			continue;
		fputs(line, stderr);
		shown++;
	}
	if (file)
		fclose(file);
	return shown > 0;
}

void test_postgres_end(struct test_postgres *pg)
{
	if (pg->pid)
		test_postgres_halt(pg, SIGQUIT);
	bool has_failed = show_deadlock(pg);
	nftw(pg->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	close(pg->lock);
	if (has_failed)
		give_up("two transactions waited for each other in a circle");
}

static void ignore_notice(void *context, const char *message)
{
	(void)context, (void)message;
}

/* A process has one connection at a time, which forgets what it was told when the next question comes; a child of it
 * makes its own. */
static PGconn *connection;
static PGconn *volatile inherited; /* a parent's is neither used nor ended */
static pid_t connection_owner;

static void disconnect(void)
{
	if (connection_owner == getpid())
		PQfinish(connection);
	else
		inherited = connection;
	connection = NULL;
}

static PGconn *connection_to(const struct test_postgres *pg)
{
	static char url[sizeof pg->url];
	if (connection && connection_owner == getpid() && strcmp(url, pg->url) == 0 &&
		PQstatus(connection) == CONNECTION_OK) {
		PQclear(PQexec(connection, "discard all"));
		return connection;
	}
	disconnect();
	snprintf(url, sizeof url, "%s", pg->url);
	connection = PQconnectdb(url);
	connection_owner = getpid();
	PQsetNoticeProcessor(connection, ignore_notice, NULL);
	return connection;
}

const char *test_postgres_ask(const struct test_postgres *pg, const char *sql)
{
	static char answer[4096];
	PGconn *conn = connection_to(pg);
	PGresult *result = PQexec(conn, sql);
	ExecStatusType status = PQresultStatus(result);
	if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
		give_up("%s\n%s", sql, PQerrorMessage(conn));
	snprintf(answer, sizeof answer, "%s", PQntuples(result) ? PQgetvalue(result, 0, 0) : "");
	PQclear(result);
	return answer;
}
