/* status.c - finds the row of a command_status. */
#include "notifier/wake/smpp/status.h"

const struct smpp_status smpp_statuses[] = {
#define STATUS(code, name, follow, word) { code, #name, FOLLOW_##follow, word },
#include "notifier/wake/smpp/status.tbl.h"
#undef STATUS
};
const size_t smpp_status_count = sizeof smpp_statuses / sizeof *smpp_statuses;

const struct smpp_status *smpp_status_of(uint32_t code)
{
	static const struct smpp_status vendors_own = { 0, "another", FOLLOW_FAILED, "VENDOR_ERROR" };
	for (size_t i = 0; i < smpp_status_count; i++)
		if (smpp_statuses[i].code == code)
			return &smpp_statuses[i];
	return &vendors_own;
}
