/* process.h - what other processes have taken: CPU to the microsecond, memory to the page. */
#ifndef KEYFOB_BENCH_PROCESS_H
#define KEYFOB_BENCH_PROCESS_H

#include <stdint.h>

/* A server that is looked at: a process and its children. */
struct process {
	char name[32];
	int pid;
};

/* NAME=PID */
struct process process_read(const char *argument);
/* Of all their threads that live now, in user space and in the kernel; microseconds. */
int64_t process_cpu_us(const struct process *);
/* What is theirs alone, and their share of what they have in common with others (Pss); bytes. */
int64_t process_memory(const struct process *);

#endif
