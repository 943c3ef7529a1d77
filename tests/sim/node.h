/* node.h - simulated nodes: the real flows of one worker each (gateway/flows.c) on a virtual loop of their own.
 *
 * A node that crashes is thrown away as it stands: its loop turns no more, its memory stays (a run is a process of its own), and the
 * database and the broker see its connections end. A node that is frozen is not turned for a while, and then finds that time has
 * passed. */
#ifndef KEYFOB_TESTS_SIM_NODE_H
#define KEYFOB_TESTS_SIM_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct api;
struct loop;
struct node;

#define NODES_MAX 4

/* `url`: of the run's database. */
void nodes_begin(size_t count, const char *url);
struct node *node_at(size_t index);
size_t nodes_count(void);
/* The node whose code is running; NULL: the world's. */
struct node *node_running(void);
int64_t nodes_next_ms(void);
void nodes_advance(int64_t ms);

/* asking */
size_t node_index(const struct node *);
struct loop *node_loop(struct node *);
struct api *node_api(struct node *);
bool node_is_up(const struct node *); /* it takes calls; it may be frozen */
bool node_is_draining(const struct node *);
bool node_is_frozen(const struct node *);
/* As /readyz says; true of a node that is down. */
bool node_says_database(const struct node *);
bool node_says_broker(const struct node *);
unsigned node_life(const struct node *); /* raised with each start: who came before is gone */
bool node_is_cut_from_database(const struct node *);
bool node_is_cut_from_broker(const struct node *);

/* changing */
void node_start(struct node *);
void node_crash(struct node *);
/* As SIGTERM does: it ends in order, and then is down. */
void node_drain(struct node *);
void node_freeze(struct node *, bool yes);
void node_cut_from_database(struct node *, bool yes);
void node_cut_from_broker(struct node *, bool yes);
void node_jump_clock(struct node *, int64_t us);

#endif
