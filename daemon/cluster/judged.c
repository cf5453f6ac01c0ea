/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cluster/judged.h"

#include "base/hash.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

enum {
	/* Nobody's pods of one node fill more: a range this wide is a mistake that would take the rest of the world for pods. */
	RANGE_MIN_BITS_V4 = 8,
	RANGE_MIN_BITS_V6 = 16,
	V4_OFFSET_BITS = 96,
};

static const char *const kind_texts[OBJECT_KINDS] = {
	[OBJECT_NODE] = "node",           [OBJECT_POD] = "pod",         [OBJECT_NAMESPACE] = "namespace", [OBJECT_RECORD] = "record",
	[OBJECT_ENDPOINTS] = "endpoints", [OBJECT_REQUEST] = "request",
};

static void name_object(enum object_kind kind, const struct object_meta *m, char text[REFUSAL_OBJECT_BYTES])
{
	bool has_space = kind == OBJECT_POD || kind == OBJECT_ENDPOINTS;

	(void)snprintf(text, REFUSAL_OBJECT_BYTES, "%s %.60s%s%.90s", kind_texts[kind], has_space ? m->name_space : "",
	               has_space ? "/" : "", m->name);
}

struct judged judged_begin(struct settlement *s, enum object_kind kind, const struct object_meta *m)
{
	struct judged j = { .settlement = s };

	name_object(kind, m, j.object);
	j.key = hash_bytes(j.object, strlen(j.object));
	refusals_begin(&s->refusals, j.key);
	return j;
}

void judged_end(struct judged *j)
{
	refusals_end(&j->settlement->refusals, j->key);
}

void judged_faults(struct judged *j, const struct object *o)
{
	for (size_t i = 0; i < o->faults_count; i++)
		judged_refuse(j, "%s", o->faults[i].text);
}

/* Why no node and no pod of another node can have it; NULL: it can. */
static const char *fault_of_address(const struct addr *a)
{
	const uint8_t *b = a->bytes;

	if (addr_is_v4(a)) {
		const uint8_t *v4 = b + 12;

		if (v4[0] == 0)
			return "is no host's";
		if (v4[0] == 127)
			return "is a loopback address";
		if (v4[0] == 169 && v4[1] == 254)
			return "is link-local";
		if (v4[0] >= 240)
			return "is reserved";
		return v4[0] >= 224 ? "is multicast" : NULL;
	}
	for (size_t i = 0; i < 15; i++) {
		if (b[i] != 0)
			break;
		if (i == 14)
			return b[15] == 0 ? "is no host's" : b[15] == 1 ? "is a loopback address" : NULL;
	}
	if (b[0] == 0xfe && (b[1] & 0xc0) == 0x80)
		return "is link-local";
	return b[0] == 0xff ? "is multicast" : NULL;
}

size_t judged_addresses(struct judged *j, const char *field, const struct addr *from, size_t from_count, struct addr *ret, size_t max)
{
	char text[ADDR_TEXT_BYTES];
	size_t count = 0;

	for (size_t i = 0; i < from_count; i++) {
		const char *fault = fault_of_address(&from[i]);
		bool is_twice = false;

		for (size_t k = 0; k < count; k++)
			is_twice |= addr_equal(&ret[k], &from[i]);
		if (fault)
			judged_refuse(j, "%s: %s %s, and can not be reached from another node", field, addr_print(&from[i], text), fault);
		else if (!is_twice && count == max)
			judged_refuse(j, "%s: %s is one too many: at most %zu are taken", field, addr_print(&from[i], text), max);
		else if (!is_twice)
			ret[count++] = from[i];
	}
	return count;
}

static const char *fault_of_range(const struct settlement *s, const struct prefix *p)
{
	bool is_v4 = addr_is_v4(&p->addr) && p->len_bits >= V4_OFFSET_BITS;
	struct addr first = p->addr;

	if (p->len_bits < (is_v4 ? V4_OFFSET_BITS + RANGE_MIN_BITS_V4 : RANGE_MIN_BITS_V6))
		return "is wider than any node's pods";
	first.bytes[15] |= p->len_bits < 128; /* 10.0.0.0 is no host's, and is where 10.0.0.0/8 begins */
	if (fault_of_address(&first))
		return "has addresses that no pod can have";
	for (size_t i = 0; i < s->reserved_count; i++) {
		if (prefix_overlaps(p, &s->reserved[i]))
			return "has addresses of Services or of the API server";
	}
	return NULL;
}

size_t judged_ranges(struct judged *j, const struct prefix *from, size_t from_count, struct prefix *ret)
{
	char text[PREFIX_TEXT_BYTES];
	size_t count = 0;

	for (size_t i = 0; i < from_count; i++) {
		const char *fault = fault_of_range(j->settlement, &from[i]);

		if (fault)
			judged_refuse(j, "spec.podCIDRs: %s %s", prefix_print(&from[i], text), fault);
		else if (count == JUDGED_RANGES_MAX)
			judged_refuse(j, "spec.podCIDRs: %s is one too many: at most %d are taken", prefix_print(&from[i], text),
			              JUDGED_RANGES_MAX);
		else
			ret[count++] = from[i];
	}
	return count;
}

bool judged_is_node_name(struct judged *j, const char *what, const char *name)
{
	char quoted[TEXT_QUOTE_BYTES];

	if (strlen(name) < VIEW_NODE_NAME_BYTES && text_is_subdomain(name))
		return true;
	judged_refuse(j, "%s %s is no node's name", what, text_quote(name, quoted));
	return false;
}
