/* node.h - one keyfobd process: its workers, and what belongs to the process and to no worker.
 *
 * That is: the configuration, the issuers' keys, the catalogue (immutable snapshots, handed over on SIGHUP) and the
 * door's counters. Workers share nothing else. */
#ifndef KEYFOB_GATEWAY_NODE_H
#define KEYFOB_GATEWAY_NODE_H

struct config;

/* Runs until SIGTERM or SIGINT, and ends the process: 0, or 1 where it could not run. `config` is borrowed. */
_Noreturn void node_run(const struct config *config);

#endif
