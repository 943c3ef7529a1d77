/* config_syntax.h - what the texts of a configuration must look like: addresses, URLs, names. */
#ifndef KEYFOB_GATEWAY_CONFIG_SYNTAX_H
#define KEYFOB_GATEWAY_CONFIG_SYNTAX_H

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>

#include "gateway/settings.h"

extern const struct setting_rule RULE_NAMESPACE;
extern const struct setting_rule RULE_NODE_ID;
extern const struct setting_rule RULE_LISTEN;
extern const struct setting_rule RULE_ORIGIN;
extern const struct setting_rule RULE_PROXY;
extern const struct setting_rule RULE_DATABASE_URL;
extern const struct setting_rule RULE_MQTT_URL;
extern const struct setting_rule RULE_HTTP_URL;
extern const struct setting_rule RULE_KEYS_URL;
extern const struct setting_rule RULE_SMPP_URL;
extern const struct setting_rule RULE_SMPP_PASSWORD;
extern const struct setting_rule RULE_TOPIC_PREFIX;
extern const struct setting_rule RULE_HEADER;
extern const struct setting_rule RULE_REGION;
extern const struct setting_rule RULE_SENDER;
extern const struct setting_rule RULE_HOOK_SECRET;
extern const struct setting_rule RULE_SEALING_KEY;
extern const struct setting_rule RULE_PRICE;
extern const struct setting_rule RULE_CURRENCY;

/* "127.0.0.1:8080" or "[::1]:8080"; the host comes without brackets, and in one spelling. */
bool syntax_split_listen(const char *text, char host[INET6_ADDRSTRLEN], uint16_t *ret_port);

#endif
