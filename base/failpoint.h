/* failpoint.h - named places where a test kills, stops or fails the node. Only in builds with KEYFOB_FAILPOINTS.
 *
 * A test arms a place by a file of its name in the folder that the environment's KEYFOB_TEST_FAILPOINTS names. Whoever comes
 * there first, of all processes that share the folder, renames the file to NAME.hit, adds its process id and does what is written
 * in it, once:
 *
 *   kill       the process is gone, as by kill -9
 *   pause MS   this thread stands still, and its whole loop with it
 *   fail       FAILPOINT() is true, and the place does what it does when its next step fails
 *
 * Without such a file, or without the variable, nothing happens. */
#ifndef KEYFOB_BASE_FAILPOINT_H
#define KEYFOB_BASE_FAILPOINT_H

#include <stdbool.h>
#include <stddef.h>

#ifdef KEYFOB_FAILPOINTS

extern const char *failpoint_folder; /* NULL: none is armed, ever */
bool failpoint_look(const char *name);
bool failpoint_act(const char *name);

static inline bool failpoint_is_armed(const char *name)
{
	return __builtin_expect(failpoint_folder != NULL, 0) && failpoint_look(name);
}

static inline bool failpoint_hit(const char *name)
{
	return __builtin_expect(failpoint_folder != NULL, 0) && failpoint_act(name);
}

#define FAILPOINT(name) failpoint_hit(name)
#define FAILPOINT_IS_ARMED(name) failpoint_is_armed(name)

#else

static inline bool failpoint_none(const char *name)
{
	(void)name;
	return false;
}

#define FAILPOINT(name) failpoint_none(name)
#define FAILPOINT_IS_ARMED(name) failpoint_none(name)

#endif
#endif
