/* METHOD(name, what runs it, the operation, its parameters: NEEDS or TAKES(name, type)). Others are unknown-field. */
METHOD("session.authenticate", session_authenticate, NULL, NEEDS("token", TEXT))
METHOD("vehicle.subscribe", subscription_begin, NULL, NEEDS("vehicle_id", TEXT), TAKES("epoch", TEXT),
	TAKES("after", COUNT))
METHOD("vehicle.unsubscribe", subscription_end, NULL, NEEDS("vehicle_id", TEXT))
METHOD("fleet.subscribe", subscription_begin, NULL, NEEDS("fleet_id", TEXT))
METHOD("fleet.unsubscribe", subscription_end, NULL, NEEDS("fleet_id", TEXT))
METHOD("vehicle.get", run_operation, &API_VEHICLE_GET, NEEDS("vehicle_id", TEXT))
METHOD("vehicle.list", run_operation, &API_VEHICLE_LIST, TAKES("filter", TEXT), TAKES("limit", COUNT), TAKES("cursor", TEXT))
METHOD("command.send", run_operation, &API_COMMAND_SEND, NEEDS("vehicle_id", TEXT), NEEDS("name", TEXT),
	TAKES("params", OBJECT), TAKES("sealed_params", TEXT), TAKES("ttl_seconds", COUNT),
	TAKES("timeout_seconds", COUNT), TAKES("wake", FLAG), TAKES("idempotency_key", TEXT), TAKES("traceparent", TEXT),
	TAKES("tracestate", TEXT))
METHOD("command.get", run_operation, &API_COMMAND_GET, NEEDS("vehicle_id", TEXT), NEEDS("id", TEXT))
METHOD("command.cancel", run_operation, &API_COMMAND_CANCEL, NEEDS("vehicle_id", TEXT), NEEDS("id", TEXT))
