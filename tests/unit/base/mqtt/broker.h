/* broker.h - a real mosquitto for a test: on a free loopback port, with its files in a folder of its own.
 *
 * It dies with the test, whatever becomes of that. */
#ifndef KEYFOB_TESTS_MQTT_BROKER_H
#define KEYFOB_TESTS_MQTT_BROKER_H

#include <sys/types.h>

struct test_broker {
	char folder[64];
	int port;
	pid_t pid; /* 0: not running */
	int log;   /* its standard error */
};

/* `config` is added to the configuration, a line each; NULL: plain, and everybody may connect. */
void test_broker_make(struct test_broker *, const char *config);
/* Returns when it listens. */
void test_broker_start(struct test_broker *);
/* SIGKILL; returns when it is gone. */
void test_broker_kill(struct test_broker *);
/* Kills it and removes its folder. */
void test_broker_done(struct test_broker *);
/* A port of 127.0.0.1 where nobody listens. */
int free_port(void);

#endif
