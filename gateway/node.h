/* node.h - one keyfobd process: its workers, and what belongs to the process and to no worker.
 *
 * That is: the configuration, the issuers' keys, the catalogue (immutable snapshots, handed over on SIGHUP) and the
 * door's counters. Workers share nothing else. */
#ifndef KEYFOB_GATEWAY_NODE_H
#define KEYFOB_GATEWAY_NODE_H

struct config;

/* Runs until SIGTERM or SIGINT; the exit code. `config` is borrowed. */
int node_run(const struct config *config);

#endif
