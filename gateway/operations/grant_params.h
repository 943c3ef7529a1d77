/* grant_params.h - what a caller may write of a grant. */
#ifndef KEYFOB_GATEWAY_OPERATIONS_GRANT_PARAMS_H
#define KEYFOB_GATEWAY_OPERATIONS_GRANT_PARAMS_H

#include <stdbool.h>

struct api_call;

enum grant_object { GRANT_ON_VEHICLE, GRANT_ON_FLEET };

/* Each ends the call when it returns false. */
bool grant_check_subject(struct api_call *);
bool grant_check(
	struct api_call *, enum grant_object); /* subject, role and expires_at, which is rewritten in our own form */

#endif
