/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "kube/message.h"

#include "base/text.h"
#include "kube/kinds.h"
#include "kube/split.h"
#include "kube/unpack.h"
#include "kube/wire.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Fields of every object and of its ObjectMeta (proto/kube.proto), for those that are not unpacked. */
enum { OBJECT_META = 1, META_NAME = 1, META_NAMESPACE = 3, META_UID = 5, META_VERSION = 6 };

static const struct {
	const char *name, *list_name;
} kinds[] = {
	[OBJECT_NODE] = { "Node", "NodeList" },
	[OBJECT_POD] = { "Pod", "PodList" },
	[OBJECT_NAMESPACE] = { "Namespace", "NamespaceList" },
	[OBJECT_RECORD] = { "Lease", "LeaseList" },
	[OBJECT_ENDPOINTS] = { "Endpoints", "EndpointsList" },
	[OBJECT_REQUEST] = { "CertificateSigningRequest", "CertificateSigningRequestList" },
};
_Static_assert(sizeof(kinds) / sizeof(kinds[0]) == OBJECT_KINDS, "a name for each kind");

const char *message_kind_name(enum object_kind kind)
{
	return kinds[kind].name;
}

const char *message_list_name(enum object_kind kind)
{
	return kinds[kind].list_name;
}

static void *take(void *ctx, size_t len_bytes)
{
	return arena_take(ctx, len_bytes);
}

/* All of an object's memory goes at once. */
static void give_back(void *ctx, void *memory)
{
	(void)ctx;
	(void)memory;
}

int message_create(struct message **ret)
{
	struct message *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->allocator = (ProtobufCAllocator){ .alloc = take, .free = give_back, .allocator_data = &m->arena };
	*ret = m;
	return 0;
}

void message_destroy(struct message *m)
{
	if (!m)
		return;
	arena_done(&m->arena);
	free(m);
}

const char *message_error(const struct message *m)
{
	return m->error;
}

const char *message_request_extra(const struct object_request *r, const char *key)
{
	const struct object_extra *found = NULL;

	for (size_t i = 0; i < r->extra_count; i++) {
		if (strcmp(r->extra[i].key, key) == 0) {
			if (found)
				return NULL;
			found = &r->extra[i];
		}
	}
	return found && found->values_count == 1 ? found->values[0] : NULL;
}

/* ---- Bare messages ---- */

int message_object(struct message *m, enum object_kind kind, const void *bytes, size_t len_bytes, struct object *ret)
{
	unpack_begin(m);
	return kinds_take(m, kind, bytes, len_bytes, ret);
}

static void take_text(const struct wire_field *f, char ret[MESSAGE_NAME_BYTES])
{
	/* What is longer is cut, and then no name that anything has. */
	(void)snprintf(ret, MESSAGE_NAME_BYTES, "%.*s", f->len_bytes < MESSAGE_NAME_BYTES ? (int)f->len_bytes : MESSAGE_NAME_BYTES - 1,
	               (const char *)f->bytes);
}

int message_name(struct message *m, enum object_kind kind, const void *bytes, size_t len_bytes, struct object_meta *ret)
{
	const uint8_t *at = bytes, *end = at + len_bytes, *meta = NULL, *meta_end = NULL;
	struct wire_field f;

	m->name_space[0] = m->name[0] = m->uid[0] = m->version[0] = '\0';
	/* Bytes that are wrong further on do not hide what comes before them. */
	while (!meta && wire_next(&at, end, &f) > 0) {
		if (f.type == WIRE_BYTES && f.number == OBJECT_META) {
			meta = f.bytes;
			meta_end = f.bytes + f.len_bytes;
		}
	}
	while (meta && wire_next(&meta, meta_end, &f) > 0) {
		if (f.type != WIRE_BYTES)
			continue;
		if (f.number == META_NAME)
			take_text(&f, m->name);
		else if (f.number == META_NAMESPACE)
			take_text(&f, m->name_space);
		else if (f.number == META_UID)
			take_text(&f, m->uid);
		else if (f.number == META_VERSION)
			take_text(&f, m->version);
	}
	if (m->name[0] == '\0')
		return -EBADMSG;
	*ret = (struct object_meta){ .name_space = m->name_space, .name = m->name, .uid = m->uid, .version = m->version };
	return unpack_is_name(message_kind_name(kind), m->name) ? 0 : -EINVAL;
}

int message_list_meta(struct message *m, const void *bytes, size_t len_bytes, struct message_list_meta *ret)
{
	const Culvert__Kube__ListMeta *meta;
	int rc;

	unpack_begin(m);
	meta = unpack_message(m, &culvert__kube__list_meta__descriptor, "ListMeta", bytes, len_bytes, &rc);
	if (!meta)
		return rc;
	*ret = (struct message_list_meta){ meta->resourceversion, meta->continue_token, meta->remainingitemcount };
	return 0;
}

int message_version(struct message *m, const void *bytes, size_t len_bytes, const char **ret)
{
	const Culvert__Kube__Object *object;
	int rc;

	unpack_begin(m);
	object = unpack_message(m, &culvert__kube__object__descriptor, "object", bytes, len_bytes, &rc);
	if (!object)
		return rc;
	if (!object->metadata || object->metadata->resourceversion[0] == '\0')
		return unpack_refuse(m, -EINVAL, "an object without metadata.resourceVersion");
	*ret = object->metadata->resourceversion;
	return 0;
}

int message_status(struct message *m, const void *bytes, size_t len_bytes, struct message_status *ret)
{
	const Culvert__Kube__Status *status;
	struct message_status s = { 0 };
	int rc;

	unpack_begin(m);
	status = unpack_message(m, &culvert__kube__status__descriptor, "Status", bytes, len_bytes, &rc);
	if (!status)
		return rc;
	s.text = status->message;
	s.reason = status->reason;
	s.cause = status->details && status->details->n_causes > 0 ? status->details->causes[0]->reason : "";
	s.code = status->code;
	if (status->details && status->details->retryafterseconds > 0)
		s.retry_after_ms = status->details->retryafterseconds < 3600 ? (uint32_t)status->details->retryafterseconds * 1000
		                                                             : 3600000;
	*ret = s;
	return 0;
}

/* ---- Whole answers ---- */

static int open_envelope(struct message *m, const void *bytes, size_t len_bytes, struct split_envelope *ret)
{
	if (split_envelope(bytes, len_bytes, ret) < 0)
		return unpack_refuse(m, -EBADMSG, "%zu bytes that are no answer in Kubernetes' protobuf", len_bytes);
	return 0;
}

static int wrong_kind(struct message *m, const struct split_envelope *e, const char *wanted)
{
	char text[64], quoted[TEXT_QUOTE_BYTES];

	(void)snprintf(text, sizeof(text), "%.*s", (int)(e->kind.len_bytes < sizeof(text) ? e->kind.len_bytes : sizeof(text)),
	               (const char *)e->kind.bytes);
	return unpack_refuse(m, -EBADMSG, "the answer is a %s where a %s was asked for", text_quote(text, quoted), wanted);
}

int message_answer_object(struct message *m, enum object_kind kind, const void *bytes, size_t len_bytes, struct object *ret)
{
	struct split_envelope e;
	int rc;

	unpack_begin(m);
	rc = open_envelope(m, bytes, len_bytes, &e);
	if (rc < 0)
		return rc;
	if (!split_span_is(e.kind, kinds[kind].name))
		return wrong_kind(m, &e, kinds[kind].name);
	return kinds_take(m, kind, e.object.bytes, e.object.len_bytes, ret);
}

int message_answer_meta(struct message *m, const void *bytes, size_t len_bytes, struct object_meta *ret)
{
	const Culvert__Kube__Object *object;
	struct split_envelope e;
	int rc;

	unpack_begin(m);
	rc = open_envelope(m, bytes, len_bytes, &e);
	if (rc < 0)
		return rc;
	object = unpack_message(m, &culvert__kube__object__descriptor, "object", e.object.bytes, e.object.len_bytes, &rc);
	return object ? unpack_meta(m, "object", object->metadata, ret) : rc;
}

int message_answer_data(struct message *m, const void *bytes, size_t len_bytes, const char *key, const void **ret_value,
                        size_t *ret_value_bytes)
{
	const Culvert__Kube__ConfigMap *map;
	const Culvert__Kube__Secret *secret;
	struct split_envelope e;
	const char *text;
	int rc;

	unpack_begin(m);
	rc = open_envelope(m, bytes, len_bytes, &e);
	if (rc < 0)
		return rc;
	if (split_span_is(e.kind, "ConfigMap")) {
		map = unpack_message(m, &culvert__kube__config_map__descriptor, "ConfigMap", e.object.bytes, e.object.len_bytes, &rc);
		text = map ? unpack_find(map->data, map->n_data, key) : NULL;
		if (!map)
			return rc;
		if (!text)
			return unpack_refuse(m, -ENOENT, "the ConfigMap has no key %s", key);
		*ret_value = text;
		*ret_value_bytes = strlen(text);
		return 0;
	}
	if (!split_span_is(e.kind, "Secret"))
		return wrong_kind(m, &e, "ConfigMap or Secret");
	m->arena.is_secret = true;
	secret = unpack_message(m, &culvert__kube__secret__descriptor, "Secret", e.object.bytes, e.object.len_bytes, &rc);
	if (!secret)
		return rc;
	for (size_t i = 0; i < secret->n_data; i++) {
		const ProtobufCBinaryData *value = &secret->data[i]->value;
		char *copy;

		if (strcmp(secret->data[i]->key, key) != 0)
			continue;
		copy = arena_take(&m->arena, value->len + 1);
		if (!copy)
			return unpack_no_memory(m);
		if (value->len > 0)
			memcpy(copy, value->data, value->len);
		copy[value->len] = '\0';
		*ret_value = copy;
		*ret_value_bytes = value->len;
		return 0;
	}
	return unpack_refuse(m, -ENOENT, "the Secret has no key %s", key);
}

int message_answer_status(struct message *m, const void *bytes, size_t len_bytes, struct message_status *ret)
{
	struct split_envelope e;
	int rc;

	unpack_begin(m);
	rc = open_envelope(m, bytes, len_bytes, &e);
	if (rc < 0)
		return rc;
	if (!split_span_is(e.kind, "Status"))
		return wrong_kind(m, &e, "Status");
	return message_status(m, e.object.bytes, e.object.len_bytes, ret);
}
