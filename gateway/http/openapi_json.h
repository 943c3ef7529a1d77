/* openapi_json.h - docs/openapi.yaml as JSON; openapi_maker.c writes it when the program is built. */
#ifndef KEYFOB_GATEWAY_HTTP_OPENAPI_JSON_H
#define KEYFOB_GATEWAY_HTTP_OPENAPI_JSON_H

extern const char *const OPENAPI_JSON;

#endif
