/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One answer of the Kubernetes API in its envelope: byte 0 chooses how it is read. All texts that come out can be read to their end. */
#include "target.h"

#include "kube/message.h"

#include <errno.h>
#include <string.h>

static size_t sum; /* so that no reading is left out */

static void touch(const char *text)
{
	must(text != NULL);
	sum += strlen(text);
}

static void touch_addresses(const struct addr *addresses, size_t count)
{
	for (size_t i = 0; i < count; i++)
		sum += addresses[i].bytes[15];
}

static void touch_request(const struct object_request *r)
{
	touch(r->signer);
	touch(r->username);
	touch(r->user_uid);
	touch(r->verdict);
	for (size_t i = 0; i < r->usages_count; i++)
		touch(r->usages[i]);
	for (size_t i = 0; i < r->extra_count; i++) {
		touch(r->extra[i].key);
		for (size_t k = 0; k < r->extra[i].values_count; k++)
			touch(r->extra[i].values[k]);
		(void)message_request_extra(r, r->extra[i].key);
	}
	for (size_t i = 0; i < r->pem_bytes; i++)
		sum += ((const uint8_t *)r->pem)[i];
	for (size_t i = 0; i < r->certificate_bytes; i++)
		sum += ((const uint8_t *)r->certificate)[i];
}

static void touch_object(const struct object *o)
{
	touch(o->meta.name_space);
	touch(o->meta.name);
	touch(o->meta.uid);
	touch(o->meta.version);
	must(o->meta.name[0] != '\0');
	for (size_t i = 0; i < o->faults_count; i++)
		must(memchr(o->faults[i].text, '\0', sizeof(o->faults[i].text)) != NULL && o->faults[i].text[0] != '\0');
	if (o->kind == OBJECT_NODE) {
		touch_addresses(o->node.addresses, o->node.addresses_count);
		for (size_t i = 0; i < o->node.ranges_count; i++)
			must(o->node.ranges[i].len_bits <= 128);
	} else if (o->kind == OBJECT_POD) {
		touch(o->pod.node);
		touch_addresses(o->pod.addresses, o->pod.addresses_count);
		must(o->pod.phase <= OBJECT_FAILED);
	} else if (o->kind == OBJECT_RECORD) {
		touch(o->record.node_uid);
		touch(o->record.settings_hash);
		must(o->record.tunnel_port <= UINT16_MAX);
	} else if (o->kind == OBJECT_ENDPOINTS) {
		must(o->endpoints.endpoints_count <= OBJECT_ENDPOINTS_MAX);
		for (size_t i = 0; i < o->endpoints.endpoints_count; i++)
			must(o->endpoints.endpoints[i].port > 0);
	} else if (o->kind == OBJECT_REQUEST) {
		touch_request(&o->request);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len_bytes)
{
	struct message_status status;
	struct object_meta meta;
	const void *value;
	struct message *m;
	struct object o;
	size_t value_len;

	if (len_bytes < 1)
		return 0;
	must(message_create(&m) == 0);
	if (message_name(m, (enum object_kind)(bytes[0] % OBJECT_KINDS), bytes + 1, len_bytes - 1, &meta) != -EBADMSG) {
		must(meta.name[0] != '\0');
		touch(meta.name_space);
		touch(meta.uid);
		touch(meta.version);
	}
	switch (bytes[0] % (OBJECT_KINDS + 3)) {
	case OBJECT_KINDS:
		if (message_answer_status(m, bytes + 1, len_bytes - 1, &status) == 0) {
			touch(status.text);
			touch(status.reason);
			touch(status.cause);
		}
		break;
	case OBJECT_KINDS + 1:
		if (message_answer_meta(m, bytes + 1, len_bytes - 1, &meta) == 0)
			touch(meta.name);
		break;
	case OBJECT_KINDS + 2:
		if (message_answer_data(m, bytes + 1, len_bytes - 1, "tls.key", &value, &value_len) == 0)
			must(((const char *)value)[value_len] == '\0');
		break;
	default:
		if (message_answer_object(m, (enum object_kind)(bytes[0] % (OBJECT_KINDS + 3)), bytes + 1, len_bytes - 1, &o) == 0)
			touch_object(&o);
		break;
	}
	message_destroy(m);
	return 0;
}
