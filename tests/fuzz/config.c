/* config.c - a configuration file, a catalogue, and JSON as it stands in the environment: the same bytes as each. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/catalog.h"
#include "gateway/config.h"
#include "gateway/document.h"
#include "tests/fuzz/input.h"

/* Who refuses says why, in one line. */
static void judge(bool fine, const struct config_error *error)
{
	assert(fine || (error->line[0] && !strchr(error->line, '\n')));
}

static void read_files(const char *bytes, size_t len)
{
	const char *file = input_file(bytes, len);
	struct config_error error = { 0 };

	const struct config *config = config_read(file, NULL, &error);
	judge(config != NULL, &error);
	config_free(config);
	const struct catalog *catalog = catalog_read(file, &error);
	judge(catalog != NULL, &error);
	catalog_free(catalog);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct input in = { (const char *)bytes, len };
	struct document *doc = document_new();
	char *copy = input_copy(in.at, len), *line = input_line(&in);
	struct config_error error = { 0 };

	judge(document_read_json(doc, "KEYFOB_X", line, &error) != NULL, &error);
	bool is_yaml = document_read_yaml(doc, "keyfob.yaml", copy, len, &error) != NULL;
	judge(is_yaml, &error);
	if (is_yaml) /* else both would say the same */
		read_files(copy, len);
	free(line);
	free(copy);
	document_free(doc);
	return 0;
}
