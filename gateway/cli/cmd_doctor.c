/* cmd_doctor.c - keyfob doctor: what is wrong with an installation, and what to do. */
#include <stdio.h>

#include "base/memory.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/print.h"
#include "gateway/doctor/doctor.h"

static const enum colour colours[] = {
	[VERDICT_OK] = COLOUR_GREEN, [VERDICT_WARNING] = COLOUR_YELLOW, [VERDICT_FAILED] = COLOUR_RED
};

static void print_finding(const struct finding *f)
{
	char verdict[16], check[24];

	snprintf(verdict, sizeof(verdict), "%-7s", verdict_name(f->verdict));
	snprintf(check, sizeof(check), "  %-13s  ", f->check);
	print_coloured(colours[f->verdict], verdict);
	fputs(check, stdout);
	print_plain(stdout, f->said);
	if (*f->advice) {
		fputs(" - ", stdout);
		print_plain(stdout, f->advice);
	}
	putchar('\n');
}

static json_t *finding_json(const struct finding *f)
{
	return memory_need(json_pack("{s:s, s:s, s:s, s:s?}", "check", f->check, "verdict", verdict_name(f->verdict),
		"found", f->said, "advice", *f->advice ? f->advice : NULL));
}

static void print_report(const struct report *report, bool as_json)
{
	json_auto_t *checks = json_array();

	for (size_t i = 0; i < report_count(report); i++) {
		if (as_json)
			json_array_append_new(checks, finding_json(report_at(report, i)));
		else
			print_finding(report_at(report, i));
	}
	if (!as_json)
		return;
	json_auto_t *whole = json_pack("{s:s, s:O}", "verdict", verdict_name(report_worst(report)), "checks", checks);
	print_json(whole);
}

static int run(struct cli *cli, const struct invocation *inv)
{
	struct report *report = doctor_examine(option_text(inv, "--config", "/etc/keyfob/keyfob.yaml"));

	print_report(report, cli->json);
	int code = report_worst(report) == VERDICT_FAILED ? CLI_FAILED : CLI_FINE;
	report_free(report);
	return code;
}

static const struct option options[] = {
	{ "--config", OPTION_TEXT, "FILE", "the node's configuration (/etc/keyfob/keyfob.yaml)" },
	{ 0 },
};

const struct cli_command CMD_DOCTOR = {
	.name = "doctor",
	.arguments = "",
	.summary = "look for what is wrong with an installation, and say what to do",
	.help = "A line for each check: ok, warning or failed, what was found, and what to do. Exit 0: nothing failed; "
		"1:\n"
		"something did. Run it where the node runs, as the user of the node, before its first start and when\n"
		"something is wrong: sudo -u keyfob keyfob doctor. It changes nothing.\n",
	.options = options,
	.is_local = true,
	.run = run,
};
