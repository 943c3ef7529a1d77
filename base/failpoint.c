/* failpoint.c - a file is the switch: taken by its renaming, so exactly one thread of all processes takes it. */
#include "base/failpoint.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

#define PATH_SIZE 512

const char *failpoint_folder;

__attribute__((constructor)) static void read_environment(void)
{
	failpoint_folder = getenv("KEYFOB_TEST_FAILPOINTS");
}

static void write_path(char path[PATH_SIZE], const char *name, const char *end)
{
	snprintf(path, PATH_SIZE, "%s/%s%s", failpoint_folder, name, end);
}

bool failpoint_look(const char *name)
{
	char path[PATH_SIZE];
	write_path(path, name, "");
	return access(path, F_OK) == 0;
}

static void stand_still(long ms)
{
	struct timespec left = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		continue;
}

/* Also leaves in the file who took it. */
static void read_action(const char *path, char *action, int size)
{
	FILE *file = fopen(path, "r+");

	if (!file || !fgets(action, size, file))
		action[0] = '\0';
	action[strcspn(action, "\n")] = '\0';
	if (!file)
		return;
	fseek(file, 0, SEEK_END);
	fprintf(file, "\n%d\n", (int)getpid());
	fclose(file);
}

bool failpoint_act(const char *name)
{
	char armed[PATH_SIZE], hit[PATH_SIZE], action[32];

	write_path(armed, name, "");
	write_path(hit, name, ".hit");
	if (rename(armed, hit) < 0)
		return false;
	read_action(hit, action, sizeof(action));
	log_warn("failpoint", "reached", LOG_TEXT("name", name), LOG_TEXT("action", action));
	if (strncmp(action, "pause ", 6) == 0)
		stand_still(strtol(action + 6, NULL, 10));
	else if (strncmp(action, "kill", 4) == 0)
		kill(getpid(), SIGKILL);
	return strncmp(action, "fail", 4) == 0;
}
