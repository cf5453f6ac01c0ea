/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "issuer/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STORE_LABELS "\"labels\":{\"app.kubernetes.io/name\":\"culvert\",\"app.kubernetes.io/component\":\"issuer\"}"

/* --- Secret, ConfigMap --- */

static void put_metadata(struct body *b, const char *name, const struct store_owner *owner)
{
	body_put(b, "\"metadata\":{\"name\":");
	body_put_text(b, name);
	body_put(b, "," STORE_LABELS);
	if (owner->uid[0]) {
		body_put(b, ",\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"ServiceAccount\",\"name\":");
		body_put_text(b, owner->account);
		body_put(b, ",\"uid\":");
		body_put_text(b, owner->uid);
		body_put(b, "}]");
	}
	body_put(b, "}");
}

static void put_version(struct body *b, const char *version)
{
	body_put(b, "\"metadata\":{\"resourceVersion\":");
	body_put_text(b, version);
	body_put(b, "}");
}

/* The keys that have a text. stringData: the API server makes data of it. */
static void put_texts(struct body *b, const struct rotation_stored *stored)
{
	const char *comma = "";

	body_put(b, "\"stringData\":{");
	for (int k = 0; k < ROTATION_KEYS; k++) {
		if (!stored->texts[k][0])
			continue;
		body_put(b, comma);
		body_put_text(b, rotation_key_name(k));
		body_put(b, ":");
		body_put_text(b, stored->texts[k]);
		comma = ",";
	}
	body_put(b, "}");
}

void store_secret_new(struct body *b, const char *name, const struct store_owner *owner, const struct rotation *r)
{
	struct rotation_stored stored;

	rotation_store(r, &stored);
	body_put(b, "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"type\":\"culvert.dev/authority\",");
	put_metadata(b, name, owner);
	body_put(b, ",");
	put_texts(b, &stored);
	body_put(b, "}");
}

void store_secret_change(struct body *b, const char *version, const struct rotation *r)
{
	struct rotation_stored stored;
	const char *comma = "";

	rotation_store(r, &stored);
	body_put(b, "{");
	put_version(b, version);
	body_put(b, ",\"data\":{");
	for (int k = 0; k < ROTATION_KEYS; k++) {
		if (stored.texts[k][0])
			continue;
		body_put(b, comma);
		body_put_text(b, rotation_key_name(k));
		body_put(b, ":null");
		comma = ",";
	}
	body_put(b, "},");
	put_texts(b, &stored);
	body_put(b, "}");
}

void store_secret_ask(struct body *b)
{
	body_put(b, "{\"stringData\":{");
	body_put_text(b, rotation_key_name(ROTATION_ASKED));
	body_put(b, ":\"asked\"}}");
}

static void put_bundle(struct body *b, const char *bundle)
{
	body_put(b, ",\"data\":{\"" STORE_BUNDLE_KEY "\":");
	body_put_text(b, bundle);
	body_put(b, "}}");
}

void store_bundle_new(struct body *b, const char *name, const struct store_owner *owner, const char *bundle)
{
	body_put(b, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",");
	put_metadata(b, name, owner);
	put_bundle(b, bundle);
}

void store_bundle_change(struct body *b, const char *version, const char *bundle)
{
	body_put(b, "{");
	put_version(b, version);
	put_bundle(b, bundle);
}

/* A text that outlives the decoder's next call. */
static int copy_data(struct message *m, const void *answer, size_t len_bytes, const char *key, char **ret, char error[STORE_ERROR_BYTES])
{
	const void *value = "";
	size_t value_bytes = 0;
	char *copy;
	int r;

	r = message_answer_data(m, answer, len_bytes, key, &value, &value_bytes);
	if (r && r != -ENOENT) {
		snprintf(error, STORE_ERROR_BYTES, "%s", message_error(m));
		return r;
	}
	copy = r ? strdup("") : strndup(value, value_bytes);
	if (!copy) {
		snprintf(error, STORE_ERROR_BYTES, "out of memory");
		return -ENOMEM;
	}
	*ret = copy;
	return 0;
}

static int read_version(struct message *m, const void *answer, size_t len_bytes, char ret[STORE_VERSION_BYTES],
                        char error[STORE_ERROR_BYTES])
{
	struct object_meta meta;
	int r = message_answer_meta(m, answer, len_bytes, &meta);

	if (r) {
		snprintf(error, STORE_ERROR_BYTES, "%s", message_error(m));
		return r;
	}
	if (strlen(meta.version) >= STORE_VERSION_BYTES) {
		snprintf(error, STORE_ERROR_BYTES, "its resourceVersion has more than %d bytes", STORE_VERSION_BYTES - 1);
		return -EINVAL;
	}
	snprintf(ret, STORE_VERSION_BYTES, "%s", meta.version);
	return 0;
}

int store_secret_read(struct message *m, const void *answer, size_t len_bytes, struct rotation *ret_rotation,
                      char ret_version[STORE_VERSION_BYTES], char error[STORE_ERROR_BYTES])
{
	char version[STORE_VERSION_BYTES];
	char *texts[ROTATION_KEYS] = { NULL };
	int r;

	r = read_version(m, answer, len_bytes, version, error);
	for (int k = 0; k < ROTATION_KEYS && !r; k++)
		r = copy_data(m, answer, len_bytes, rotation_key_name(k), &texts[k], error);
	if (!r)
		r = rotation_load((const char *const *)texts, ret_rotation, error);
	for (int k = 0; k < ROTATION_KEYS; k++) {
		if (texts[k])
			explicit_bzero(texts[k], strlen(texts[k]));
		free(texts[k]);
	}
	if (!r)
		memcpy(ret_version, version, sizeof(version));
	return r;
}

int store_bundle_read(struct message *m, const void *answer, size_t len_bytes, char **ret_bundle, char ret_version[STORE_VERSION_BYTES],
                      char error[STORE_ERROR_BYTES])
{
	char version[STORE_VERSION_BYTES];
	int r;

	r = read_version(m, answer, len_bytes, version, error);
	if (!r)
		r = copy_data(m, answer, len_bytes, STORE_BUNDLE_KEY, ret_bundle, error);
	if (!r)
		memcpy(ret_version, version, sizeof(version));
	return r;
}

/* --- requests --- */

static void patch_begin(struct body *b, const char *version, const char *path)
{
	body_put(b, "[{\"op\":\"test\",\"path\":\"/metadata/resourceVersion\",\"value\":");
	body_put_text(b, version);
	body_put(b, "},{\"op\":\"add\",\"path\":");
	body_put_text(b, path);
	body_put(b, ",\"value\":");
}

static void put_condition(struct body *b, const char *type, const char *reason, const char *text)
{
	body_put(b, "{\"type\":");
	body_put_text(b, type);
	body_put(b, ",\"status\":\"True\",\"reason\":");
	body_put_text(b, reason);
	body_put(b, ",\"message\":");
	body_put_text(b, text);
	body_put(b, "}");
}

void store_request_approve(struct body *b, const char *version, const char *node)
{
	char text[JUDGE_NAME_BYTES + 64];

	snprintf(text, sizeof(text), "its pod runs on node %s", node);
	patch_begin(b, version, "/status/conditions");
	body_put(b, "[");
	put_condition(b, "Approved", judge_reason_word(JUDGE_GOOD), text);
	body_put(b, "]}]");
}

void store_request_deny(struct body *b, const char *version, const struct judge_refusal *refusal)
{
	patch_begin(b, version, "/status/conditions");
	body_put(b, "[");
	put_condition(b, "Denied", judge_reason_word(refusal->reason), refusal->text);
	body_put(b, "]}]");
}

void store_request_fail(struct body *b, const char *version, const struct judge_refusal *refusal)
{
	patch_begin(b, version, "/status/conditions/-");
	put_condition(b, "Failed", judge_reason_word(refusal->reason), refusal->text);
	body_put(b, "}]");
}

void store_request_sign(struct body *b, const char *version, const char *certificate)
{
	patch_begin(b, version, "/status/certificate");
	body_put_base64(b, certificate, strlen(certificate));
	body_put(b, "}]");
}
