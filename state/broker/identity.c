/* identity.c - compares what a client proved (certificate or username) with the client id that it asks for. */
#include "state/broker/identity.h"

#include "state/broker/settings.h"

#include <mosquitto_broker.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

static bool is_vehicle_id(const char *id);
static bool is_of_namespace(const struct settings *, const char *id);
static const char *common_name(X509 *, char buffer[IDENTITY_SIZE]);

enum role client_role(const struct settings *settings, const struct mosquitto *client)
{
	char buffer[IDENTITY_SIZE];
	const char *identity = client_identity(client, buffer);
	const char *id = mosquitto_client_id(client);

	if (!identity || !id)
		return ROLE_NOBODY;
	if (strcmp(identity, settings->gateway) == 0)
		return is_of_namespace(settings, id) ? ROLE_GATEWAY : ROLE_NOBODY;
	if (!identity_is_vehicle(settings, id))
		return ROLE_NOBODY;
	return strcmp(identity, id) == 0 ? ROLE_VEHICLE : ROLE_NOBODY;
}

bool identity_is_vehicle(const struct settings *settings, const char *id)
{
	return is_vehicle_id(id) && !is_of_namespace(settings, id);
}

const char *client_identity(const struct mosquitto *client, char buffer[IDENTITY_SIZE])
{
	X509 *certificate = mosquitto_client_certificate(client);
	if (!certificate)
		return mosquitto_client_username(client);
	const char *name = common_name(certificate, buffer);
	X509_free(certificate);
	return name;
}

bool client_has_certificate(const struct mosquitto *client)
{
	X509 *certificate = mosquitto_client_certificate(client);
	X509_free(certificate);
	return certificate != NULL;
}

/* The id becomes a level of topics, so it may hold neither a slash nor a wildcard. */
static bool is_vehicle_id(const char *id)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-";
	size_t len = strlen(id);
	return len >= 1 && len <= 64 && strspn(id, letters) == len;
}

static bool is_of_namespace(const struct settings *settings, const char *id)
{
	size_t len = strlen(settings->name_space);
	return strncmp(id, settings->name_space, len) == 0 && id[len] == '-';
}

/* NULL when the subject has no CN, more than one (which would it be?), or one that does not fit or hides a NUL. */
static const char *common_name(X509 *certificate, char buffer[IDENTITY_SIZE])
{
	X509_NAME *subject = X509_get_subject_name(certificate);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0)
		return NULL;

	unsigned char *text = NULL;
	int len = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
	if (len < 0)
		return NULL;
	bool is_usable = len > 0 && len < IDENTITY_SIZE && memchr(text, 0, (size_t)len) == NULL;
	if (is_usable) {
		memcpy(buffer, text, (size_t)len);
		buffer[len] = '\0';
	}
	OPENSSL_free(text);
	return is_usable ? buffer : NULL;
}
