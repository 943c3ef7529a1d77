/* FAULT(id, name, http status, may have executed, retry, title, user message) */
FAULT(MALFORMED_REQUEST, "malformed-request", 400, EXECUTED_NO, RETRY_NEVER, "the request cannot be read", NULL)
FAULT(INVALID_QUERY, "invalid-query", 400, EXECUTED_NO, RETRY_NEVER,
	"a query parameter is unknown or has an impossible value", NULL)
FAULT(UNAUTHENTICATED, "unauthenticated", 401, EXECUTED_NO, RETRY_NEVER, "a valid bearer token is required",
	"Please sign in again.")
FAULT(FORBIDDEN, "forbidden", 403, EXECUTED_NO, RETRY_NEVER, "the token or the grant does not allow this",
	"You are not allowed to do this.")
FAULT(STEP_UP_REQUIRED, "step-up-required", 403, EXECUTED_NO, RETRY_NEVER, "this command demands a more recent login",
	"Please confirm that it is you.")
FAULT(NOT_FOUND, "not-found", 404, EXECUTED_NO, RETRY_NEVER, "there is nothing at this path", NULL)
FAULT(VEHICLE_NOT_FOUND, "vehicle-not-found", 404, EXECUTED_NO, RETRY_NEVER, "no such vehicle, or not yours to see",
	"This vehicle was not found.")
FAULT(FLEET_NOT_FOUND, "fleet-not-found", 404, EXECUTED_NO, RETRY_NEVER, "no such fleet, or not yours to see", NULL)
FAULT(COMMAND_NOT_FOUND, "command-not-found", 404, EXECUTED_NO, RETRY_NEVER, "no such command of this vehicle", NULL)
FAULT(BATCH_NOT_FOUND, "batch-not-found", 404, EXECUTED_NO, RETRY_NEVER, "no such batch, or not yours to see", NULL)
FAULT(GRANT_NOT_FOUND, "grant-not-found", 404, EXECUTED_NO, RETRY_NEVER, "this subject has no grant here", NULL)
FAULT(NOTICE_NOT_FOUND, "notice-not-found", 404, EXECUTED_NO, RETRY_NEVER, "there is no such notice", NULL)
FAULT(WEBHOOK_NOT_FOUND, "webhook-not-found", 404, EXECUTED_NO, RETRY_NEVER, "no such webhook, or not yours", NULL)
FAULT(DELIVERY_NOT_FOUND, "delivery-not-found", 404, EXECUTED_NO, RETRY_NEVER, "no such delivery of this webhook", NULL)
FAULT(METHOD_NOT_ALLOWED, "method-not-allowed", 405, EXECUTED_NO, RETRY_NEVER, "this path does not take this method",
	NULL)
FAULT(FLEET_NOT_EMPTY, "fleet-not-empty", 409, EXECUTED_NO, RETRY_NEVER, "the fleet has vehicles",
	"Move the vehicles to another fleet first.")
FAULT(COMMAND_ALREADY_SENT, "command-already-sent", 409, EXECUTED_UNKNOWN, RETRY_NEVER,
	"the command may have left for the vehicle", "Too late: the command is already on its way.")
FAULT(COMMAND_ALREADY_FINAL, "command-already-final", 409, EXECUTED_NO, RETRY_NEVER,
	"the command has its final verdict", "Too late: the command is already done.")
FAULT(BATCH_ALREADY_FINAL, "batch-already-final", 409, EXECUTED_NO, RETRY_NEVER, "the batch has come to its end", NULL)
FAULT(PRECONDITION_FAILED, "precondition-failed", 412, EXECUTED_NO, RETRY_NEVER, "somebody else has changed it since",
	"Somebody else has changed this in the meantime.")
FAULT(TOO_LARGE, "too-large", 413, EXECUTED_NO, RETRY_NEVER, "the request is larger than 64 KiB", NULL)
FAULT(UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", 415, EXECUTED_NO, RETRY_NEVER,
	"the body must be application/json", NULL)
FAULT(UPGRADE_REQUIRED, "upgrade-required", 426, EXECUTED_NO, RETRY_NEVER, "this path is for WebSockets", NULL)
FAULT(UNKNOWN_FIELD, "unknown-field", 422, EXECUTED_NO, RETRY_NEVER, "the request has a field that is not known", NULL)
FAULT(UNKNOWN_COMMAND, "unknown-command", 422, EXECUTED_NO, RETRY_NEVER, "the catalogue has no such command", NULL)
FAULT(INVALID_PARAMS, "invalid-params", 422, EXECUTED_NO, RETRY_NEVER, "a value does not fit", NULL)
FAULT(INVALID_VEHICLE, "invalid-vehicle", 422, EXECUTED_NO, RETRY_NEVER, "the vehicle cannot be registered so", NULL)
FAULT(IDEMPOTENCY_KEY_REUSED, "idempotency-key-reused", 422, EXECUTED_NO, RETRY_NEVER,
	"this idempotency key was used for another request", NULL)
FAULT(RATE_LIMITED, "rate-limited", 429, EXECUTED_NO, RETRY_LATER, "too many requests",
	"Too many attempts. Please wait a moment.")
FAULT(QUEUE_FULL, "queue-full", 429, EXECUTED_NO, RETRY_LATER, "too many commands wait for this vehicle",
	"Too many commands are waiting for this vehicle.")
FAULT(INTERNAL, "internal", 500, EXECUTED_UNKNOWN, RETRY_NEVER, "the node failed; its log says why",
	"Something went wrong.")
FAULT(STORAGE_UNAVAILABLE, "storage-unavailable", 503, EXECUTED_NO, RETRY_LATER, "the database is not available",
	"The service is not available. Please try again.")
FAULT(STORAGE_UNKNOWN, "storage-unavailable", 503, EXECUTED_UNKNOWN, RETRY_LATER,
	"the database connection was lost during the write", "It is not known whether this worked.")
FAULT(OVERLOADED, "overloaded", 503, EXECUTED_NO, RETRY_LATER, "the node has no room for more",
	"The service is busy. Please try again.")
FAULT(DRAINING, "draining", 503, EXECUTED_NO, RETRY_LATER, "the node is shutting down", "Please try again.")
