/* notice_params.h - what a caller may write of a notice. */
#ifndef KEYFOB_GATEWAY_OPERATIONS_NOTICE_PARAMS_H
#define KEYFOB_GATEWAY_OPERATIONS_NOTICE_PARAMS_H

#include <stdbool.h>

struct api_call;

/* Each ends the call when it returns false. */
bool notice_check_name(struct api_call *);
bool notice_check(struct api_call *); /* name, payload, content_type and expires_in_seconds */

#endif
