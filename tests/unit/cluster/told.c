/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "told.h"
#include "unit/parsed.h"

#include <stdio.h>
#include <string.h>

enum { ITEMS = 8 };

static void on_refused(void *ctx, const char *object, const char *text)
{
	struct told *t = ctx;

	t->refused++;
	(void)snprintf(t->last, sizeof(t->last), "%.160s: %.340s", object, text);
}

void told_begin_with(struct told *t, struct registry_settings s)
{
	*t = (struct told){ .now = { NS_PER_S } };
	s.self = "n1";
	assert_int_equal(registry_create(&s, on_refused, t, &t->registry), 0);
}

void told_begin(struct told *t)
{
	told_begin_with(t, (struct registry_settings){ .is_space_opt_out_allowed = true });
}

void told_end(struct told *t)
{
	registry_destroy(t->registry);
	view_unref(t->view);
}

void told_publish(struct told *t)
{
	struct view *v;

	assert_int_equal(registry_publish(t->registry, t->now, &v), 0);
	view_unref(t->view);
	t->view = v;
}

void told_pass(struct told *t, uint64_t ms)
{
	t->now = instant_add_ms(t->now, ms);
	told_publish(t);
}

/* Texts with spaces between them. */
static size_t addresses_of(const char *texts, struct addr ret[ITEMS])
{
	char text[512], *save = NULL;
	size_t count = 0;

	(void)snprintf(text, sizeof(text), "%s", texts);
	for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		assert_true(count < ITEMS);
		ret[count++] = addr(word);
	}
	return count;
}

static size_t prefixes_of(const char *texts, struct prefix ret[ITEMS])
{
	char text[512], *save = NULL;
	size_t count = 0;

	(void)snprintf(text, sizeof(text), "%s", texts);
	for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		assert_true(count < ITEMS);
		ret[count++] = prefix(word);
	}
	return count;
}

void told_node_of(struct told *t, const struct told_node_words *w)
{
	struct object o = { .kind = OBJECT_NODE };
	struct addr a[ITEMS];
	struct prefix p[ITEMS];

	o.node = (struct object_node){
		.meta = { .name_space = "", .name = w->name, .uid = w->uid ? w->uid : w->name, .version = "", .created_s = w->created_s },
		.addresses = a,
		.addresses_count = addresses_of(w->addresses ? w->addresses : "", a),
		.ranges = p,
		.ranges_count = prefixes_of(w->ranges ? w->ranges : "", p),
		.is_unenrolled = w->is_unenrolled,
	};
	assert_int_equal(registry_put(t->registry, &o), 0);
}

struct object_meta told_meta(const char *name)
{
	static char spaces[4][64];
	static unsigned next;
	char *space = spaces[next++ % 4];
	const char *slash = strchr(name, '/');

	(void)snprintf(space, sizeof(spaces[0]), "%.*s", slash ? (int)(slash - name) : 0, name);
	return (struct object_meta){ .name_space = space, .name = slash ? slash + 1 : name, .uid = "", .version = "" };
}

void told_gone(struct told *t, enum object_kind kind, const char *name)
{
	struct object_meta m = told_meta(name);

	registry_gone(t->registry, kind, &m);
}

void told_record(struct told *t, const char *node, const char *node_uid)
{
	struct object o = { .kind = OBJECT_RECORD };

	o.record = (struct object_record){ .meta = told_meta(node), .node_uid = node_uid, .tunnel_port = 7117, .settings_hash = "12ab" };
	assert_int_equal(registry_put(t->registry, &o), 0);
}

void told_space(struct told *t, const char *name, bool is_opted_out)
{
	struct object o = { .kind = OBJECT_NAMESPACE };

	o.name_space = (struct object_namespace){ .meta = told_meta(name), .is_opted_out = is_opted_out };
	assert_int_equal(registry_put(t->registry, &o), 0);
}

void told_pod_of(struct told *t, const struct told_pod_words *w)
{
	struct object o = { .kind = OBJECT_POD };
	struct addr a[ITEMS];

	o.pod = (struct object_pod){
		.meta = told_meta(w->name),
		.node = w->node ? w->node : "",
		.addresses = a,
		.addresses_count = addresses_of(w->addresses ? w->addresses : "", a),
		.phase = w->phase == OBJECT_PHASE_UNKNOWN ? OBJECT_RUNNING : w->phase,
		.is_host_network = w->is_host_network,
		.is_opted_out = w->is_opted_out,
		.is_culvert = w->is_culvert,
	};
	o.meta.uid = w->uid ? w->uid : w->name;
	o.meta.created_s = w->created_s ? w->created_s : 1000;
	o.meta.is_deleting = w->is_deleting;
	assert_int_equal(registry_put(t->registry, &o), 0);
}

const char *told_whose(const struct told *t, const char *address)
{
	static char text[4][VIEW_NODE_NAME_BYTES + 8];
	static unsigned next;
	char *at = text[next++ % 4];
	struct addr a = addr(address);
	struct view_answer answer = view_lookup(t->view, &a);
	const char *name = answer.owner ? answer.owner->name : "";

	switch (answer.kind) {
	case VIEW_POD:
		(void)snprintf(at, sizeof(text[0]), "%s%s%s%s", name, answer.flags & VIEW_ENTRY_ENDING ? "-" : "",
		               answer.flags & VIEW_ENTRY_LEAVING ? "~" : "", answer.flags & VIEW_ENTRY_OPTED_OUT ? "!" : "");
		return at;
	case VIEW_NODE:
		(void)snprintf(at, sizeof(text[0]), "=%s", name);
		return at;
	case VIEW_POD_SPACE:
		return "?";
	default:
		return "";
	}
}

bool told_is_enrolled(const struct told *t, const char *node)
{
	const struct view_node *n = view_node_by_name(t->view, node);

	return n && n->is_enrolled;
}

void told_two_nodes(struct told *t)
{
	told_node(t, .name = "n1", .addresses = "172.30.0.1 fd30::1", .created_s = 10);
	told_node(t, .name = "n2", .addresses = "172.30.0.2 fd30::2", .created_s = 20);
	told_record(t, "n1", "n1");
	told_record(t, "n2", "n2");
}
