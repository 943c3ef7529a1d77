/* config_table.h - the rows of config.tbl.h as a table, for those who read, override and print them. */
#ifndef KEYFOB_GATEWAY_CONFIG_TABLE_H
#define KEYFOB_GATEWAY_CONFIG_TABLE_H

#include "gateway/settings.h"

extern const struct setting_table CONFIG_TABLE;	       /* fills struct config */
extern const struct setting_table CONFIG_ISSUER_TABLE; /* fills struct issuer */

#endif
