/* process.c - sums over /proc/PID/task. */
#include "tests/bench/process.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/samples.h"

struct process process_read(const char *argument)
{
	struct process p = { 0 };

	if (sscanf(argument, "%31[^=]=%d", p.name, &p.pid) != 2 || p.pid < 1)
		give_up("%s is no NAME=PID", argument);
	return p;
}

/* The first number of a file's first line that `format` fits to; 0: the process or thread has ended meanwhile. */
static long long number_in(const char *path, const char *format)
{
	char line[256];
	long long number = 0;
	FILE *in = fopen(path, "re");

	while (in && fgets(line, sizeof(line), in) && sscanf(line, format, &number) != 1)
		;
	if (in)
		fclose(in);
	return number;
}

static int64_t memory_of(int pid)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	return number_in(path, "Pss: %lld kB") * 1024;
}

/* What `of` says of each thread. */
static int64_t sum_threads(int pid, int64_t (*of)(const char *task))
{
	char path[320];
	int64_t sum = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	DIR *tasks = opendir(path);
	if (!tasks)
		return 0;
	for (const struct dirent *entry; (entry = readdir(tasks));) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s", pid, entry->d_name);
		sum += of(path);
	}
	closedir(tasks);
	return sum;
}

static int64_t cpu_of_task(const char *task)
{
	char path[384];
	snprintf(path, sizeof(path), "%s/schedstat", task);
	return number_in(path, "%lld") / 1000;
}

static int64_t cpu_of(int pid)
{
	return sum_threads(pid, cpu_of_task);
}

static int64_t sum_children(const char *task, int64_t (*of)(int pid))
{
	char path[384];
	int64_t sum = 0;
	int pid;

	snprintf(path, sizeof(path), "%s/children", task);
	FILE *in = fopen(path, "re");
	while (in && fscanf(in, "%d", &pid) == 1)
		sum += of(pid);
	if (in)
		fclose(in);
	return sum;
}

static int64_t cpu_of_children(const char *task)
{
	return sum_children(task, cpu_of);
}

static int64_t memory_of_children(const char *task)
{
	return sum_children(task, memory_of);
}

int64_t process_cpu_us(const struct process *p)
{
	int64_t own = cpu_of(p->pid);
	if (own == 0)
		give_up("%s has ended", p->name);
	return own + sum_threads(p->pid, cpu_of_children);
}

int64_t process_memory(const struct process *p)
{
	return memory_of(p->pid) + sum_threads(p->pid, memory_of_children);
}
