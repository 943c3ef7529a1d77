/* show_batch.h - how far a batch has come, for people. */
#ifndef KEYFOB_GATEWAY_CLI_SHOW_BATCH_H
#define KEYFOB_GATEWAY_CLI_SHOW_BATCH_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* A headline and its counts. */
void show_batch(const json_t *batch);
/* A table, a line for each. */
void show_batches(const json_t *items);
/* One line, which the next takes the place of. */
void show_batch_progress(FILE *, const json_t *batch);
/* It runs no more. */
bool batch_is_over(const json_t *batch);
/* Of `--wait`: an enum cli_exit. */
int batch_exit(const json_t *batch);

#endif
