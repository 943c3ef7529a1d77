/* openapi_maker.c - keyfob-openapi YAML C: writes a YAML document as JSON into a C file, for openapi.c to serve. */
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "gateway/config_error.h"
#include "gateway/document.h"

static void add(struct text *out, const struct value *v);

static void add_members(struct text *out, const struct value *v)
{
	for (const struct value *m = v->first; m; m = m->next) {
		if (v->kind == VALUE_MAP) {
			text_add_json_string(out, m->key);
			text_add(out, ":");
		}
		add(out, m);
		if (m->next)
			text_add(out, ",");
	}
}

static void add(struct text *out, const struct value *v)
{
	switch (v->kind) {
	case VALUE_LIST:
	case VALUE_MAP:
		text_add(out, v->kind == VALUE_LIST ? "[" : "{");
		add_members(out, v);
		text_add(out, v->kind == VALUE_LIST ? "]" : "}");
		break;
	case VALUE_TEXT:
	case VALUE_BARE:
		text_add_json_string(out, v->text);
		break;
	case VALUE_NULL:
		text_add(out, "null");
		break;
	default:
		text_add(out, v->text);
	}
}

/* As numbers: no text can break the C, and no limit of a compiler is met. */
static bool write_c(const char *file, const struct text *json)
{
	FILE *f = fopen(file, "we");

	if (!f)
		return false;
	fputs("/* Generated from docs/openapi.yaml. */\n#include \"gateway/http/openapi_json.h\"\n\n"
	      "static const unsigned char text[] = {",
		f);
	for (size_t i = 0; i < json->len; i++)
		fprintf(f, "%s%d,", i % 16 ? "" : "\n\t", (unsigned char)json->data[i]);
	fputs("\n\t0\n};\nconst char *const OPENAPI_JSON = (const char *)text;\n", f);
	return fclose(f) == 0;
}

int main(int argc, char **argv)
{
	struct config_error error = { 0 };
	struct text json = { 0 };

	if (argc != 3) {
		fputs("usage: keyfob-openapi YAML C\n", stderr);
		return 2;
	}
	struct document *doc = document_new();
	const struct value *root = document_read_file(doc, argv[1], &error);
	if (root)
		add(&json, root);
	bool written = root && write_c(argv[2], &json);
	if (!root)
		fprintf(stderr, "keyfob-openapi: %s\n", error.line);
	else if (!written)
		perror(argv[2]);
	text_free(&json);
	document_free(doc);
	return written ? EXIT_SUCCESS : EXIT_FAILURE;
}
