/* target.c - finds the node: the environment first, then the nearest `.keyfob/run/env` upwards. */
#include "gateway/cli/target.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

#define ENV_FILE "/.keyfob/run/env"

struct target {
	char *url, *token, *authorities;
};

/* Another user's file is passed over: it could send our token to a place of its own choice. */
static FILE *open_if_ours(const char *path)
{
	struct stat st;
	FILE *file = fopen(path, "re");
	if (!file)
		return NULL;
	if (fstat(fileno(file), &st) == 0 && S_ISREG(st.st_mode) && (st.st_uid == geteuid() || st.st_uid == 0))
		return file;
	fclose(file);
	return NULL;
}

static FILE *open_upwards(void)
{
	char path[PATH_MAX + sizeof(ENV_FILE)];
	if (!getcwd(path, PATH_MAX))
		return NULL;
	for (;;) {
		char *end = path + strlen(path);
		strcpy(end, ENV_FILE);
		FILE *file = open_if_ours(path);
		*end = '\0';
		char *slash = strrchr(path, '/');
		if (file || !slash)
			return file;
		*slash = '\0';
	}
}

static void set(char **member, const char *text)
{
	free(*member);
	*member = memory_need(strdup(text));
}

/* `KEYFOB_URL=…`; "export" before it and quotes around the value are for shells. */
static void line_read(struct target *t, char *line)
{
	line[strcspn(line, "\r\n")] = '\0';
	line += strncmp(line, "export ", 7) == 0 ? 7 : 0;
	char *value = strchr(line, '=');
	if (!value)
		return;
	*value++ = '\0';
	size_t len = strlen(value);
	if (len > 1 && (value[0] == '"' || value[0] == '\'') && value[len - 1] == value[0]) {
		value[len - 1] = '\0';
		value++;
	}
	if (strcmp(line, "KEYFOB_URL") == 0)
		set(&t->url, value);
	if (strcmp(line, "KEYFOB_TOKEN") == 0)
		set(&t->token, value);
	if (strcmp(line, "SSL_CERT_FILE") == 0)
		set(&t->authorities, value);
}

static void strip_slashes(char *url)
{
	for (size_t len = strlen(url); len > 0 && url[len - 1] == '/'; len--)
		url[len - 1] = '\0';
}

static struct target target_of_file(void)
{
	struct target t = { 0 };
	char *line = NULL;
	size_t size = 0;
	FILE *file = open_upwards();
	while (file && getline(&line, &size, file) >= 0)
		line_read(&t, line);
	free(line);
	if (file)
		fclose(file);
	if (t.url)
		strip_slashes(t.url);
	return t;
}

static void forget(char **member)
{
	free(*member);
	*member = NULL;
}

/* The environment's values over the file's. What the file says of its node is never said to another. */
static void target_override(struct target *t)
{
	const char *given = getenv("KEYFOB_URL"), *token = getenv("KEYFOB_TOKEN");
	char *url = given && *given ? memory_need(strdup(given)) : NULL;
	if (url)
		strip_slashes(url);
	if (url && (!t->url || strcmp(t->url, url) != 0)) {
		set(&t->url, url);
		forget(&t->token);
		forget(&t->authorities);
	}
	free(url);
	if (token && *token)
		set(&t->token, token);
}

/* Where OpenSSL and call.c look for it. Over what the environment has: a company's list there does not know of a node that
 * made its own authority. */
static void trust(struct target *t)
{
	if (t->authorities)
		setenv("SSL_CERT_FILE", t->authorities, 1);
	forget(&t->authorities);
}

bool target_find(char **ret_url, char **ret_token, char *ret_why, size_t why_size)
{
	struct target t = target_of_file();
	target_override(&t);
	trust(&t);
	const char *missing = !t.url ? "KEYFOB_URL" : !t.token ? "KEYFOB_TOKEN" : NULL;
	if (missing) {
		snprintf(ret_why, why_size,
			"%s is not set, and no `./dev run` has left it in .keyfob/run/env here or above", missing);
		free(t.url);
		free(t.token);
		return false;
	}
	*ret_url = t.url;
	*ret_token = t.token;
	return true;
}
