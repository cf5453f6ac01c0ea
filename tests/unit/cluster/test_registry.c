/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cluster/registry.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ITEMS = 8 };

/* What a test has told, and the view of it. */
struct told {
	struct registry *registry;
	struct view *view;
	struct instant now;
	unsigned refused; /* lines that were logged */
	char last[512];   /* the last of them */
};

static void on_refused(void *ctx, const char *object, const char *text)
{
	struct told *t = ctx;

	t->refused++;
	(void)snprintf(t->last, sizeof(t->last), "%.160s: %.340s", object, text);
}

static void begin_with(struct told *t, struct registry_settings s)
{
	*t = (struct told){ .now = { NS_PER_S } };
	s.self = "n1";
	assert_int_equal(registry_create(&s, on_refused, t, &t->registry), 0);
}

static void begin(struct told *t)
{
	begin_with(t, (struct registry_settings){ .is_space_opt_out_allowed = true });
}

static void end(struct told *t)
{
	registry_destroy(t->registry);
	view_unref(t->view);
}

static void publish(struct told *t)
{
	struct view *v;

	assert_int_equal(registry_publish(t->registry, t->now, &v), 0);
	view_unref(t->view);
	t->view = v;
}

static void pass(struct told *t, uint64_t ms)
{
	t->now = instant_add_ms(t->now, ms);
	publish(t);
}

static struct addr addr(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

static struct prefix prefix(const char *text)
{
	struct prefix p;

	assert_int_equal(prefix_parse(text, &p), 0);
	return p;
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

struct node_words {
	const char *name, *uid, *addresses, *ranges;
	int64_t created_s;
	bool is_unenrolled;
};

static void put_node_of(struct told *t, const struct node_words *w)
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

#define put_node(t, ...) put_node_of((t), &(struct node_words){ __VA_ARGS__ })

static struct object_meta meta_of(const char *name)
{
	static char spaces[4][64];
	static unsigned next;
	char *space = spaces[next++ % 4];
	const char *slash = strchr(name, '/');

	(void)snprintf(space, sizeof(spaces[0]), "%.*s", slash ? (int)(slash - name) : 0, name);
	return (struct object_meta){ .name_space = space, .name = slash ? slash + 1 : name, .uid = "", .version = "" };
}

static void gone(struct told *t, enum object_kind kind, const char *name)
{
	struct object_meta m = meta_of(name);

	registry_gone(t->registry, kind, &m);
}

static void put_record(struct told *t, const char *node, const char *node_uid)
{
	struct object o = { .kind = OBJECT_RECORD };

	o.record = (struct object_record){ .meta = meta_of(node), .node_uid = node_uid, .tunnel_port = 7117, .settings_hash = "12ab" };
	assert_int_equal(registry_put(t->registry, &o), 0);
}

static void put_space(struct told *t, const char *name, bool is_opted_out)
{
	struct object o = { .kind = OBJECT_NAMESPACE };

	o.name_space = (struct object_namespace){ .meta = meta_of(name), .is_opted_out = is_opted_out };
	assert_int_equal(registry_put(t->registry, &o), 0);
}

struct pod_words {
	const char *name, *node, *addresses, *uid;
	int64_t created_s;
	enum object_phase phase;
	bool is_deleting, is_host_network, is_opted_out, is_culvert;
};

static void put_pod_of(struct told *t, const struct pod_words *w)
{
	struct object o = { .kind = OBJECT_POD };
	struct addr a[ITEMS];

	o.pod = (struct object_pod){
		.meta = meta_of(w->name),
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

#define put_pod(t, ...) put_pod_of((t), &(struct pod_words){ __VA_ARGS__ })

/* "n2" for a pod's of n2, with "-" ending, "~" leaving, "!" opted out behind it; "=n2" for its own; "?" for the pod space; "" for outside. */
static const char *whose(const struct told *t, const char *address)
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

static bool is_enrolled(const struct told *t, const char *node)
{
	const struct view_node *n = view_node_by_name(t->view, node);

	return n && n->is_enrolled;
}

/* n1 (ours) and n2, both enrolled. */
static void put_two_nodes(struct told *t)
{
	put_node(t, .name = "n1", .addresses = "172.30.0.1 fd30::1", .created_s = 10);
	put_node(t, .name = "n2", .addresses = "172.30.0.2 fd30::2", .created_s = 20);
	put_record(t, "n1", "n1");
	put_record(t, "n2", "n2");
}

static void a_running_pods_addresses_are_its_nodes(void **state)
{
	struct told t;

	(void)state;
	begin(&t);
	put_two_nodes(&t);
	put_pod(&t, .name = "shop/cart", .node = "n1", .addresses = "10.1.0.5 fd10::5");
	put_pod(&t, .name = "shop/web", .node = "n2", .addresses = "10.1.0.6");
	put_pod(&t, .name = "shop/starts", .node = "n2", .addresses = "10.1.0.7", .phase = OBJECT_PENDING);
	put_pod(&t, .name = "shop/no-node", .addresses = "10.1.0.8");
	put_pod(&t, .name = "shop/no-address", .node = "n2");
	put_pod(&t, .name = "kube-system/proxy", .node = "n2", .addresses = "172.30.0.2", .is_host_network = true);
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.5"), "n1");
	assert_string_equal(whose(&t, "fd10::5"), "n1");
	assert_string_equal(whose(&t, "10.1.0.6"), "n2");
	assert_string_equal(whose(&t, "10.1.0.7"), "n2");
	assert_string_equal(whose(&t, "10.1.0.8"), "");
	assert_string_equal(whose(&t, "172.30.0.2"), "=n2");
	assert_string_equal(whose(&t, "fd30::1"), "=n1");
	assert_string_equal(whose(&t, "192.0.2.1"), "");
	assert_non_null(view_self(t.view));
	assert_string_equal(view_self(t.view)->name, "n1");
	assert_int_equal(registry_counts(t.registry).pods, 3);
	assert_int_equal(t.refused, 0);
	end(&t);
}

static void nothing_new_is_the_same_view(void **state)
{
	struct view *before;
	struct told t;

	(void)state;
	begin(&t);
	put_two_nodes(&t);
	put_space(&t, "shop", false);
	put_pod(&t, .name = "shop/cart", .node = "n1", .addresses = "10.1.0.5");
	publish(&t);
	before = view_ref(t.view);
	assert_false(registry_is_changed(t.registry));
	put_two_nodes(&t);
	put_space(&t, "shop", false);
	put_pod(&t, .name = "shop/cart", .node = "n1", .addresses = "10.1.0.5");
	assert_false(registry_is_changed(t.registry));
	publish(&t);
	assert_ptr_equal(t.view, before);
	view_unref(before);
	end(&t);
}

static void of_two_claims_the_older_pods_is_taken_and_the_other_named(void **state)
{
	(void)state;
	for (int order = 0; order < 2; order++) {
		struct told t;

		begin(&t);
		put_two_nodes(&t);
		for (int i = 0; i < 2; i++) {
			if (i == order)
				put_pod(&t, .name = "shop/old", .node = "n1", .addresses = "10.1.0.5", .created_s = 100);
			else
				put_pod(&t, .name = "shop/new", .node = "n2", .addresses = "10.1.0.5", .created_s = 200);
		}
		publish(&t);
		assert_string_equal(whose(&t, "10.1.0.5"), "n1");
		assert_int_equal(t.refused, 1);
		assert_string_equal(t.last, "pod shop/new: 10.1.0.5 on node n2 is taken already, by pod shop/old on node n1");
		assert_int_equal(registry_refusals(t.registry)->count, 1);
		/* Its turn comes, and it is refused no more. */
		gone(&t, OBJECT_POD, "shop/old");
		publish(&t);
		assert_string_equal(whose(&t, "10.1.0.5"), "n2");
		assert_int_equal(registry_refusals(t.registry)->count, 0);
		end(&t);
	}
}

static void of_two_pods_of_one_age_all_nodes_take_the_same(void **state)
{
	char first[64];
	struct told t;

	(void)state;
	for (int order = 0; order < 2; order++) {
		begin(&t);
		put_two_nodes(&t);
		put_pod(&t, .name = order ? "shop/b" : "shop/a", .node = order ? "n2" : "n1", .addresses = "10.1.0.5");
		put_pod(&t, .name = order ? "shop/a" : "shop/b", .node = order ? "n1" : "n2", .addresses = "10.1.0.5");
		publish(&t);
		if (order == 0)
			(void)snprintf(first, sizeof(first), "%s", whose(&t, "10.1.0.5"));
		else
			assert_string_equal(whose(&t, "10.1.0.5"), first);
		end(&t);
	}
}

static void an_address_is_not_taken_over_while_its_owner_claims_it(void **state)
{
	struct told t;

	(void)state;
	begin(&t);
	put_two_nodes(&t);
	put_pod(&t, .name = "shop/bank", .node = "n1", .addresses = "10.1.0.5", .created_s = 200);
	put_pod(&t, .name = "shop/thief", .node = "n2", .addresses = "10.1.0.9", .created_s = 100);
	publish(&t);
	/* A node may say of its own pods what it wants; that one of them is older helps it nothing. */
	put_pod(&t, .name = "shop/thief", .node = "n2", .addresses = "10.1.0.5", .created_s = 100);
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.5"), "n1");
	assert_non_null(strstr(t.last, "pod shop/thief: 10.1.0.5 on node n2 is taken already"));
	/* Nor does it while the owner itself changes. */
	put_pod(&t, .name = "shop/bank", .node = "n1", .addresses = "10.1.0.5 fd10::5", .created_s = 200);
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.5"), "n1");
	assert_string_equal(whose(&t, "fd10::5"), "n1");
	assert_string_equal(whose(&t, "10.1.0.9"), "n2-");
	end(&t);
}

static void running_goes_before_terminating(void **state)
{
	struct addr a = addr("10.1.0.5");
	struct told t;

	(void)state;
	begin(&t);
	put_two_nodes(&t);
	put_pod(&t, .name = "shop/old", .node = "n1", .addresses = "10.1.0.5", .created_s = 100);
	publish(&t);
	put_pod(&t, .name = "shop/old", .node = "n1", .addresses = "10.1.0.5", .created_s = 100, .is_deleting = true);
	publish(&t);
	/* It still serves, and its node speaks for it. */
	assert_string_equal(whose(&t, "10.1.0.5"), "n1~");
	assert_int_equal(view_judge(t.view, &a, view_node_by_name(t.view, "n1"), false), VIEW_YES);
	assert_int_equal(view_judge(t.view, &a, view_node_by_name(t.view, "n2"), false), VIEW_UNKNOWN);
	put_pod(&t, .name = "shop/new", .node = "n2", .addresses = "10.1.0.5", .created_s = 200);
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.5"), "n2");
	assert_int_equal(view_judge(t.view, &a, view_node_by_name(t.view, "n1"), false), VIEW_OTHERS);
	gone(&t, OBJECT_POD, "shop/old");
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.5"), "n2");
	assert_int_equal(t.refused, 0);
	/* What is gone is nobody's word any more. */
	gone(&t, OBJECT_POD, "shop/new");
	publish(&t);
	assert_int_equal(view_judge(t.view, &a, view_node_by_name(t.view, "n2"), false), VIEW_UNKNOWN);
	end(&t);
}

static void the_address_of_a_pod_that_is_gone_is_kept_for_ten_minutes(void **state)
{
	struct instant deadline;
	struct told t;

	(void)state;
	begin(&t);
	put_two_nodes(&t);
	put_pod(&t, .name = "shop/job", .node = "n2", .addresses = "10.1.0.5");
	put_pod(&t, .name = "shop/web", .node = "n2", .addresses = "10.1.0.6");
	publish(&t);
	assert_false(registry_deadline(t.registry, &deadline));
	put_pod(&t, .name = "shop/job", .node = "n2", .addresses = "10.1.0.5", .phase = OBJECT_SUCCEEDED);
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.5"), "n2-");
	pass(&t, 1000);
	gone(&t, OBJECT_POD, "shop/web");
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.6"), "n2-");
	assert_int_equal(registry_counts(t.registry).ended, 2);
	assert_true(registry_deadline(t.registry, &deadline));
	assert_int_equal(deadline.ns, NS_PER_S + REGISTRY_KEEP_MS * NS_PER_MS);
	/* The API's word that it is gone, later, changes nothing. */
	gone(&t, OBJECT_POD, "shop/job");
	pass(&t, REGISTRY_KEEP_MS - 1001);
	assert_string_equal(whose(&t, "10.1.0.5"), "n2-");
	pass(&t, 1);
	assert_string_equal(whose(&t, "10.1.0.5"), "");
	assert_string_equal(whose(&t, "10.1.0.6"), "n2-");
	pass(&t, 1000);
	assert_string_equal(whose(&t, "10.1.0.6"), "");
	assert_false(registry_deadline(t.registry, &deadline));
	end(&t);
}

static void a_new_owner_has_a_kept_address_at_once(void **state)
{
	struct told t;

	(void)state;
	begin(&t);
	put_two_nodes(&t);
	put_pod(&t, .name = "shop/job", .node = "n2", .addresses = "10.1.0.5");
	publish(&t);
	gone(&t, OBJECT_POD, "shop/job");
	publish(&t);
	put_pod(&t, .name = "shop/web", .node = "n1", .addresses = "10.1.0.5");
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.5"), "n1");
	pass(&t, REGISTRY_KEEP_MS);
	assert_string_equal(whose(&t, "10.1.0.5"), "n1");
	end(&t);
}

static void an_address_that_moves_in_one_turn_is_never_nobodys(void **state)
{
	struct told t;

	(void)state;
	begin(&t);
	put_two_nodes(&t);
	put_pod(&t, .name = "shop/db-0", .node = "n1", .addresses = "10.1.0.5", .uid = "one");
	publish(&t);
	/* A StatefulSet's pod: the same name, another pod, another node, the same address. */
	put_pod(&t, .name = "shop/db-0", .node = "n2", .addresses = "10.1.0.5", .uid = "two");
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.5"), "n2");
	assert_int_equal(registry_counts(t.registry).ended, 0);
	assert_int_equal(registry_counts(t.registry).pods, 1);
	end(&t);
}

static void what_no_enrolled_node_had_is_not_kept(void **state)
{
	struct told t;

	(void)state;
	begin(&t);
	put_node(&t, .name = "n1", .addresses = "172.30.0.1");
	put_pod(&t, .name = "shop/job", .node = "n1", .addresses = "10.1.0.5");
	publish(&t);
	assert_false(is_enrolled(&t, "n1"));
	gone(&t, OBJECT_POD, "shop/job");
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.5"), "");
	end(&t);
}

static void a_pod_that_comes_before_its_node_is_pod_space(void **state)
{
	struct told t;

	(void)state;
	begin(&t);
	put_node(&t, .name = "n1", .addresses = "172.30.0.1");
	put_pod(&t, .name = "shop/early", .node = "n2", .addresses = "10.1.0.5");
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.5"), "?");
	put_node(&t, .name = "n2", .addresses = "172.30.0.2");
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.5"), "n2");
	/* A node that was taken out is another matter: nothing of it is refused. */
	gone(&t, OBJECT_NODE, "n2");
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.5"), "");
	assert_string_equal(whose(&t, "172.30.0.2"), "");
	assert_null(view_node_by_name(t.view, "n2"));
	gone(&t, OBJECT_POD, "shop/early");
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.5"), "");
	end(&t);
}

static void a_node_that_leaves_takes_its_addresses_with_it(void **state)
{
	struct told t;

	(void)state;
	begin(&t);
	put_two_nodes(&t);
	put_pod(&t, .name = "shop/a", .node = "n2", .addresses = "10.1.0.5");
	put_pod(&t, .name = "shop/b", .node = "n2", .addresses = "10.1.0.6");
	publish(&t);
	gone(&t, OBJECT_POD, "shop/b");
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.6"), "n2-");
	gone(&t, OBJECT_NODE, "n2");
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.5"), "");
	assert_string_equal(whose(&t, "10.1.0.6"), "");
	assert_int_equal(registry_counts(t.registry).ended, 0);
	/* It comes back as another: not enrolled by the record of the one before. */
	put_node(&t, .name = "n2", .uid = "another", .addresses = "172.30.0.3");
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.5"), "n2");
	assert_string_equal(whose(&t, "172.30.0.3"), "=n2");
	assert_false(is_enrolled(&t, "n2"));
	assert_true(registry_node(t.registry, "n2").has_old_record);
	assert_false(registry_node(t.registry, "n2").has_record);
	gone(&t, OBJECT_RECORD, "n2");
	put_record(&t, "n2", "another");
	publish(&t);
	assert_true(is_enrolled(&t, "n2"));
	end(&t);
}

static void a_node_that_is_replaced_in_one_turn_keeps_its_pods(void **state)
{
	struct told t;
	uint32_t id;

	(void)state;
	begin(&t);
	put_two_nodes(&t);
	put_pod(&t, .name = "shop/a", .node = "n2", .addresses = "10.1.0.5");
	publish(&t);
	id = view_node_by_name(t.view, "n2")->id;
	gone(&t, OBJECT_NODE, "n2");
	put_node(&t, .name = "n2", .uid = "another", .addresses = "172.30.0.2");
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.5"), "n2");
	assert_int_equal(view_node_by_name(t.view, "n2")->id, id);
	assert_false(is_enrolled(&t, "n2"));
	end(&t);
}

static void a_record_enrolls_the_node_that_owns_it(void **state)
{
	struct told t;

	(void)state;
	begin(&t);
	/* Records may come before their nodes. */
	put_record(&t, "n2", "n2");
	put_node(&t, .name = "n1", .addresses = "172.30.0.1");
	put_node(&t, .name = "n2", .addresses = "172.30.0.2");
	publish(&t);
	assert_false(is_enrolled(&t, "n1"));
	assert_true(is_enrolled(&t, "n2"));
	assert_int_equal(registry_counts(t.registry).nodes, 2);
	assert_int_equal(registry_counts(t.registry).enrolled, 1);
	assert_int_equal(registry_node(t.registry, "n2").record_port, 7117);
	assert_string_equal(registry_node(t.registry, "n2").record_hash, "12ab");
	/* Of another Node object, or of none. */
	put_record(&t, "n1", "somebody");
	publish(&t);
	assert_false(is_enrolled(&t, "n1"));
	put_record(&t, "n1", "");
	publish(&t);
	assert_false(is_enrolled(&t, "n1"));
	assert_non_null(strstr(t.last, "record n1: metadata.ownerReferences"));
	put_record(&t, "n1", "n1");
	publish(&t);
	assert_true(is_enrolled(&t, "n1"));
	assert_int_equal(registry_refusals(t.registry)->count, 0);
	/* The two ways out that leave the Node. */
	put_node(&t, .name = "n1", .addresses = "172.30.0.1", .is_unenrolled = true);
	publish(&t);
	assert_false(is_enrolled(&t, "n1"));
	assert_true(registry_node(t.registry, "n1").is_unenrolled);
	gone(&t, OBJECT_RECORD, "n2");
	publish(&t);
	assert_false(is_enrolled(&t, "n2"));
	end(&t);
}

static void our_own_node_stays_when_it_is_taken_out(void **state)
{
	struct told t;

	(void)state;
	begin(&t);
	put_two_nodes(&t);
	publish(&t);
	assert_true(is_enrolled(&t, "n1"));
	gone(&t, OBJECT_NODE, "n1");
	publish(&t);
	assert_non_null(view_self(t.view));
	assert_false(is_enrolled(&t, "n1"));
	assert_string_equal(whose(&t, "172.30.0.1"), "=n1");
	assert_false(registry_node(t.registry, "n1").is_known);
	put_node(&t, .name = "n1", .addresses = "172.30.0.1 fd30::1", .created_s = 10);
	publish(&t);
	assert_true(is_enrolled(&t, "n1"));
	end(&t);
}

static void addresses_of_nodes_change(void **state)
{
	struct told t;

	(void)state;
	begin(&t);
	put_node(&t, .name = "n1", .addresses = "172.30.0.1");
	put_node(&t, .name = "n2", .addresses = "");
	publish(&t);
	assert_non_null(view_node_by_name(t.view, "n2"));
	assert_int_equal(view_node_by_name(t.view, "n2")->addresses_count, 0);
	assert_string_equal(t.last,
	                    "node n2: status.addresses: none that another node could reach: no tunnel leads there until it has one");
	put_node(&t, .name = "n2", .addresses = "172.30.0.2 127.0.0.1 fe80::1 fd30::2 172.30.0.2");
	publish(&t);
	assert_int_equal(view_node_by_name(t.view, "n2")->addresses_count, 2);
	assert_string_equal(whose(&t, "fd30::2"), "=n2");
	assert_int_equal(registry_refusals(t.registry)->count, 2);
	put_node(&t, .name = "n2", .addresses = "172.30.0.9");
	publish(&t);
	assert_string_equal(whose(&t, "172.30.0.9"), "=n2");
	assert_string_equal(whose(&t, "172.30.0.2"), "");
	assert_string_equal(whose(&t, "fd30::2"), "");
	assert_int_equal(registry_refusals(t.registry)->count, 0);
	end(&t);
}

static void an_address_of_two_nodes_is_the_older_ones(void **state)
{
	struct told t;

	(void)state;
	begin(&t);
	put_node(&t, .name = "n3", .addresses = "172.30.0.3 172.30.0.2", .created_s = 30);
	put_two_nodes(&t);
	publish(&t);
	assert_string_equal(whose(&t, "172.30.0.2"), "=n2");
	assert_string_equal(whose(&t, "172.30.0.3"), "=n3");
	assert_string_equal(t.last, "node n3: status.addresses: 172.30.0.2 is node n2's already");
	/* Who has it keeps it, also against an older one. */
	put_node(&t, .name = "n1", .addresses = "172.30.0.1 172.30.0.2", .created_s = 10);
	publish(&t);
	assert_string_equal(whose(&t, "172.30.0.2"), "=n2");
	/* Until it leaves it. */
	put_node(&t, .name = "n2", .addresses = "172.30.0.8", .created_s = 20);
	publish(&t);
	assert_string_equal(whose(&t, "172.30.0.2"), "=n1");
	gone(&t, OBJECT_NODE, "n3");
	publish(&t);
	assert_string_equal(whose(&t, "172.30.0.2"), "=n1");
	assert_int_equal(registry_refusals(t.registry)->count, 0);
	end(&t);
}

static void a_nodes_address_is_no_pods(void **state)
{
	struct told t;

	(void)state;
	begin(&t);
	put_two_nodes(&t);
	put_node(&t, .name = "n3", .addresses = "172.30.0.3");
	put_pod(&t, .name = "shop/liar", .node = "n1", .addresses = "172.30.0.2 10.1.0.5");
	put_pod(&t, .name = "shop/early", .node = "n1", .addresses = "172.30.0.3");
	publish(&t);
	assert_string_equal(whose(&t, "172.30.0.2"), "=n2");
	assert_string_equal(whose(&t, "10.1.0.5"), "n1");
	assert_string_equal(whose(&t, "172.30.0.3"), "=n3");
	assert_int_equal(registry_refusals(t.registry)->count, 2);
	assert_int_equal(t.refused, 2);
	/* The node leaves it, and it is the pod's. */
	put_node(&t, .name = "n3", .addresses = "172.30.0.4");
	publish(&t);
	assert_string_equal(whose(&t, "172.30.0.3"), "n1");
	gone(&t, OBJECT_POD, "shop/liar");
	publish(&t);
	assert_string_equal(whose(&t, "172.30.0.2"), "=n2");
	assert_int_equal(registry_refusals(t.registry)->count, 0);
	end(&t);
}

/* What an earlier daemon knew: pairs of an address and its node, "=" before one that is the node's own. */
static const char *recall(void *ctx, const struct addr *a, bool *ret_is_own)
{
	for (const char *const *at = ctx; *at; at += 2) {
		struct addr known = addr(at[0]);

		if (!addr_equal(&known, a))
			continue;
		*ret_is_own = at[1][0] == '=';
		return at[1] + *ret_is_own;
	}
	return NULL;
}

static void claims_that_a_daemon_finds_at_its_start_are_as_the_one_before_knew_them(void **state)
{
	static const char *known[] = { "10.1.0.5", "n1", "10.1.0.6", "n3", "172.30.0.1", "=n1", "172.30.0.3", "=n3", NULL };

	(void)state;
	for (int has_memory = 0; has_memory < 2; has_memory++) {
		struct told t;

		begin(&t);
		if (has_memory)
			registry_set_recall(t.registry, recall, (void *)known);
		put_node(&t, .name = "n1", .addresses = "172.30.0.1", .created_s = 10);
		/* It is older than n3, keeps pods that are older, and says that it has what others have. */
		put_node(&t, .name = "n2", .addresses = "172.30.0.2 10.1.0.5 172.30.0.3", .created_s = 5);
		put_node(&t, .name = "n3", .addresses = "172.30.0.3", .created_s = 20);
		put_pod(&t, .name = "shop/web", .node = "n1", .addresses = "10.1.0.5", .created_s = 100);
		put_pod(&t, .name = "shop/cart", .node = "n3", .addresses = "10.1.0.6", .created_s = 100);
		put_pod(&t, .name = "evil/old", .node = "n2", .addresses = "10.1.0.6", .created_s = 50);
		put_pod(&t, .name = "evil/node", .node = "n2", .addresses = "172.30.0.1", .created_s = 50);
		publish(&t);
		assert_string_equal(whose(&t, "10.1.0.5"), has_memory ? "n1" : "=n2");
		assert_string_equal(whose(&t, "10.1.0.6"), has_memory ? "n3" : "n2");
		assert_string_equal(whose(&t, "172.30.0.3"), has_memory ? "=n3" : "=n2");
		assert_string_equal(whose(&t, "172.30.0.1"), "=n1");
		/* From then on who has it keeps it, and what was known before is not asked any more. */
		registry_set_recall(t.registry, recall, (void *)(const char *[]){ "10.1.0.6", "n1", NULL });
		put_pod(&t, .name = "evil/new", .node = "n1", .addresses = "10.1.0.6", .created_s = 1);
		publish(&t);
		assert_string_equal(whose(&t, "10.1.0.6"), has_memory ? "n3" : "n2");
		end(&t);
	}
}

static void what_is_remembered_is_no_claim(void **state)
{
	static const char *known[] = { "10.1.0.5", "n3", "172.30.0.2", "=n9", NULL };
	struct told t;

	(void)state;
	begin(&t);
	registry_set_recall(t.registry, recall, (void *)known);
	put_two_nodes(&t);
	put_pod(&t, .name = "shop/old", .node = "n1", .addresses = "10.1.0.5", .created_s = 100);
	put_pod(&t, .name = "shop/new", .node = "n2", .addresses = "10.1.0.5", .created_s = 200);
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.5"), "n1");
	assert_string_equal(whose(&t, "172.30.0.2"), "=n2");
	end(&t);
}

/* Pods get the addresses of their node's range one after the other: a kubelet that says they are its node's would have them before. */
static void a_free_address_of_another_nodes_range_is_its_pods_when_one_has_it(void **state)
{
	struct told t;

	(void)state;
	begin(&t);
	put_node(&t, .name = "n1", .addresses = "172.30.0.1", .ranges = "10.9.1.0/24", .created_s = 20);
	put_node(&t, .name = "n2", .addresses = "172.30.0.2", .ranges = "10.9.2.0/24", .created_s = 10);
	publish(&t);
	put_node(&t, .name = "n2", .addresses = "172.30.0.2 10.9.1.7 10.9.3.7", .ranges = "10.9.2.0/24", .created_s = 10);
	publish(&t);
	assert_string_equal(whose(&t, "10.9.1.7"), "=n2");
	put_pod(&t, .name = "shop/web", .node = "n1", .addresses = "10.9.1.7");
	publish(&t);
	assert_string_equal(whose(&t, "10.9.1.7"), "n1");
	assert_string_equal(t.last, "node n2: status.addresses: 10.9.1.7 is taken already, by pod shop/web on node n1");
	assert_int_equal(view_node_by_name(t.view, "n2")->addresses_count, 2);
	/* Not a pod of any other node, and not in a range that came to a node later. */
	put_pod(&t, .name = "shop/far", .node = "n1", .addresses = "10.9.3.7");
	put_node(&t, .name = "n3", .addresses = "172.30.0.3", .ranges = "10.9.3.0/24 172.30.0.0/24", .created_s = 30);
	put_pod(&t, .name = "evil/node", .node = "n3", .addresses = "172.30.0.1");
	put_pod(&t, .name = "evil/late", .node = "n3", .addresses = "10.9.3.7");
	publish(&t);
	assert_string_equal(whose(&t, "10.9.3.7"), "=n2");
	assert_string_equal(whose(&t, "172.30.0.1"), "=n1");
	/* Nobody's again, until the next pod has it. */
	gone(&t, OBJECT_POD, "shop/web");
	publish(&t);
	assert_string_equal(whose(&t, "10.9.1.7"), "=n2");
	put_pod(&t, .name = "shop/next", .node = "n1", .addresses = "10.9.1.7");
	publish(&t);
	assert_string_equal(whose(&t, "10.9.1.7"), "n1");
	end(&t);
}

static void a_range_counts_at_a_daemons_start_where_its_node_is_the_older(void **state)
{
	(void)state;
	for (int is_older = 0; is_older < 2; is_older++) {
		struct told t;

		begin(&t);
		put_node(&t, .name = "n2", .addresses = "172.30.0.2 10.9.1.7", .created_s = 10);
		put_node(&t, .name = "n1", .addresses = "172.30.0.1", .ranges = "10.9.1.0/24", .created_s = is_older ? 5 : 20);
		put_pod(&t, .name = "shop/web", .node = "n1", .addresses = "10.9.1.7", .created_s = 100);
		publish(&t);
		assert_string_equal(whose(&t, "10.9.1.7"), is_older ? "n1" : "=n2");
		end(&t);
	}
}

/* A kubelet says what its node's addresses are: with another's pod among them it would get what is sent to that. */
static void a_node_does_not_take_a_pods_address(void **state)
{
	struct told t;

	(void)state;
	begin(&t);
	put_two_nodes(&t);
	put_pod(&t, .name = "shop/web", .node = "n1", .addresses = "10.1.0.5 fd10::5");
	publish(&t);
	put_node(&t, .name = "n2", .addresses = "172.30.0.2 fd30::2 10.1.0.5 fd10::5", .created_s = 20);
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.5"), "n1");
	assert_string_equal(whose(&t, "fd10::5"), "n1");
	assert_string_equal(whose(&t, "172.30.0.2"), "=n2");
	assert_int_equal(view_node_by_name(t.view, "n2")->addresses_count, 2);
	assert_string_equal(t.last, "node n2: status.addresses: fd10::5 is taken already, by pod shop/web on node n1");
	assert_int_equal(registry_refusals(t.registry)->count, 2);
	/* What a node does not say any more is not refused any more. */
	put_node(&t, .name = "n2", .addresses = "172.30.0.2 fd30::2 10.1.0.5", .created_s = 20);
	publish(&t);
	assert_int_equal(registry_refusals(t.registry)->count, 1);
	/* Not while it is terminating either, nor because the node says it again. */
	put_pod(&t, .name = "shop/web", .node = "n1", .addresses = "10.1.0.5 fd10::5", .is_deleting = true);
	put_node(&t, .name = "n2", .addresses = "172.30.0.2 10.1.0.5 fd10::5", .created_s = 20);
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.5"), "n1~");
	/* Its turn comes, and it stays its own against what a pod says later. */
	gone(&t, OBJECT_POD, "shop/web");
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.5"), "=n2");
	assert_int_equal(registry_refusals(t.registry)->count, 0);
	put_pod(&t, .name = "shop/late", .node = "n1", .addresses = "10.1.0.5");
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.5"), "=n2");
	/* A node that is gone has no pods any more. */
	put_pod(&t, .name = "shop/other", .node = "n2", .addresses = "10.1.0.6");
	publish(&t);
	gone(&t, OBJECT_NODE, "n2");
	put_node(&t, .name = "n1", .addresses = "172.30.0.1 10.1.0.6", .created_s = 10);
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.6"), "=n1");
	assert_string_equal(whose(&t, "10.1.0.5"), "n1");
	end(&t);
}

static void a_kept_address_that_becomes_a_nodes_stays_the_nodes(void **state)
{
	struct told t;

	(void)state;
	begin(&t);
	put_two_nodes(&t);
	put_pod(&t, .name = "shop/a", .node = "n2", .addresses = "10.1.0.5");
	publish(&t);
	gone(&t, OBJECT_POD, "shop/a");
	publish(&t);
	put_node(&t, .name = "n3", .addresses = "10.1.0.5");
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.5"), "=n3");
	pass(&t, REGISTRY_KEEP_MS);
	assert_string_equal(whose(&t, "10.1.0.5"), "=n3");
	end(&t);
}

static void addresses_that_no_pod_can_have_are_refused(void **state)
{
	static const char *const bad[] = { "127.0.0.9", "::1",     "169.254.1.1", "fe80::5",  "224.0.0.5",
		                           "ff02::5",   "0.0.0.0", "::",          "240.0.0.1" };
	const struct prefix reserved[] = { prefix("10.96.0.0/12"), prefix("172.30.9.9/32") };
	struct told t;

	(void)state;
	begin_with(&t, (struct registry_settings){ .reserved = reserved, .reserved_count = 2 });
	put_two_nodes(&t);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char name[32], addresses[64];

		(void)snprintf(name, sizeof(name), "shop/p%zu", i);
		(void)snprintf(addresses, sizeof(addresses), "%s 10.1.0.%zu", bad[i], i);
		put_pod(&t, .name = name, .node = "n2", .addresses = addresses);
		publish(&t);
		assert_int_equal(t.refused, i + 1);
		assert_non_null(strstr(t.last, name));
		assert_non_null(strstr(t.last, bad[i]));
		assert_string_equal(whose(&t, strchr(addresses, ' ') + 1), "n2");
	}
	put_pod(&t, .name = "shop/service", .node = "n2", .addresses = "10.96.0.1");
	put_pod(&t, .name = "shop/api", .node = "n2", .addresses = "172.30.9.9");
	publish(&t);
	assert_string_equal(whose(&t, "10.96.0.1"), "");
	assert_string_equal(whose(&t, "172.30.9.9"), "");
	assert_non_null(strstr(t.last, "is a Service's or the API server's"));
	end(&t);
}

static void ranges_mark_the_pod_space(void **state)
{
	const struct prefix more[] = { prefix("10.9.0.0/16") }, marked = prefix("10.1.1.0/24");
	struct view_entry entry;
	struct told t;

	(void)state;
	begin_with(&t, (struct registry_settings){ .pod_space = more, .pod_space_count = 1 });
	put_node(&t, .name = "n1", .addresses = "172.30.0.1", .ranges = "10.1.1.0/24 fd10:1::/64");
	put_node(&t, .name = "n2", .addresses = "172.30.0.2", .ranges = "10.1.2.0/24");
	/* Its CNI has ranges of its own. */
	put_pod(&t, .name = "shop/a", .node = "n2", .addresses = "10.1.1.77");
	publish(&t);
	assert_string_equal(whose(&t, "10.1.1.50"), "?");
	assert_string_equal(whose(&t, "fd10:1::50"), "?");
	assert_string_equal(whose(&t, "10.9.1.1"), "?");
	/* Which node's range it is said to be is known: what faces its new pods is told by it. */
	assert_true(view_get(t.view, &marked, &entry));
	assert_int_equal(entry.node_id, view_node_by_name(t.view, "n1")->id);
	assert_string_equal(whose(&t, "10.1.3.1"), "");
	assert_string_equal(whose(&t, "10.1.1.77"), "n2");
	/* Bridge and overlay devices have the first two. */
	assert_string_equal(whose(&t, "10.1.1.0"), "=n1");
	assert_string_equal(whose(&t, "10.1.1.1"), "=n1");
	assert_string_equal(whose(&t, "fd10:1::1"), "=n1");
	assert_string_equal(whose(&t, "10.1.2.1"), "=n2");
	assert_string_equal(whose(&t, "10.1.2.2"), "?");
	/* But where a pod has it, it is the pod's. */
	put_pod(&t, .name = "shop/b", .node = "n1", .addresses = "10.1.2.1");
	publish(&t);
	assert_string_equal(whose(&t, "10.1.2.1"), "n1");
	gone(&t, OBJECT_POD, "shop/b");
	publish(&t);
	assert_string_equal(whose(&t, "10.1.2.1"), "=n2");
	/* The range goes with its node. */
	gone(&t, OBJECT_NODE, "n2");
	publish(&t);
	assert_string_equal(whose(&t, "10.1.2.50"), "");
	assert_string_equal(whose(&t, "10.1.2.1"), "");
	assert_string_equal(whose(&t, "10.1.1.50"), "?");
	put_node(&t, .name = "n1", .addresses = "172.30.0.1", .ranges = "10.1.7.0/24");
	publish(&t);
	assert_string_equal(whose(&t, "10.1.1.50"), "");
	assert_string_equal(whose(&t, "10.1.7.50"), "?");
	assert_int_equal(t.refused, 0);
	end(&t);
}

static void a_range_of_two_nodes_stays_while_one_has_it(void **state)
{
	struct told t;

	(void)state;
	begin(&t);
	put_node(&t, .name = "n1", .addresses = "172.30.0.1", .ranges = "10.1.0.0/16", .created_s = 10);
	put_node(&t, .name = "n2", .addresses = "172.30.0.2", .ranges = "10.1.0.0/16", .created_s = 20);
	publish(&t);
	assert_string_equal(whose(&t, "10.1.3.3"), "?");
	assert_string_equal(whose(&t, "10.1.0.1"), "=n1");
	put_node(&t, .name = "n1", .addresses = "172.30.0.1", .created_s = 10);
	publish(&t);
	assert_string_equal(whose(&t, "10.1.3.3"), "?");
	assert_string_equal(whose(&t, "10.1.0.1"), "=n2");
	gone(&t, OBJECT_NODE, "n2");
	publish(&t);
	assert_string_equal(whose(&t, "10.1.3.3"), "");
	end(&t);
}

static void ranges_are_ownership_where_they_are_told_to_be(void **state)
{
	struct told t;

	(void)state;
	begin_with(&t, (struct registry_settings){ .is_ranges_own = true });
	put_node(&t, .name = "n1", .addresses = "172.30.0.1", .ranges = "10.1.1.0/24", .created_s = 10);
	put_node(&t, .name = "n2", .addresses = "172.30.0.2", .ranges = "10.1.2.0/24", .created_s = 20);
	put_node(&t, .name = "n3", .addresses = "172.30.0.3", .ranges = "10.1.2.128/25 10.1.3.0/24", .created_s = 30);
	put_node(&t, .name = "n4", .addresses = "172.30.0.4", .ranges = "10.1.0.0/16", .created_s = 40);
	put_record(&t, "n2", "n2");
	put_pod(&t, .name = "shop/a", .node = "n2", .addresses = "10.1.2.9");
	publish(&t);
	assert_string_equal(whose(&t, "10.1.1.50"), "n1");
	assert_string_equal(whose(&t, "10.1.2.50"), "n2");
	assert_string_equal(whose(&t, "10.1.2.200"), "n2");
	assert_string_equal(whose(&t, "10.1.3.50"), "n3");
	assert_string_equal(whose(&t, "10.1.9.9"), "?");
	assert_string_equal(whose(&t, "10.1.2.1"), "=n2");
	assert_int_equal(t.refused, 2);
	/* What is left of a pod is its node's all the same. */
	gone(&t, OBJECT_POD, "shop/a");
	publish(&t);
	assert_string_equal(whose(&t, "10.1.2.9"), "n2");
	gone(&t, OBJECT_NODE, "n2");
	publish(&t);
	assert_string_equal(whose(&t, "10.1.2.50"), "?");
	assert_string_equal(whose(&t, "10.1.2.200"), "n3");
	end(&t);
}

static void ranges_that_can_not_be_are_refused(void **state)
{
	static const char *const bad[] = { "0.0.0.0/0",   "10.0.0.0/7", "127.0.0.0/24", "169.254.0.0/16",
		                           "224.0.0.0/8", "fd00::/8",   "10.96.0.0/16" };
	const struct prefix reserved[] = { prefix("10.96.0.1/32") };
	struct told t;

	(void)state;
	begin_with(&t, (struct registry_settings){ .reserved = reserved, .reserved_count = 1 });
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char ranges[64];

		(void)snprintf(ranges, sizeof(ranges), "%s 10.1.1.0/24", bad[i]);
		put_node(&t, .name = "n1", .addresses = "172.30.0.1", .ranges = ranges);
		publish(&t);
		assert_int_equal(t.refused, i + 1);
		assert_non_null(strstr(t.last, bad[i]));
		assert_int_equal(registry_refusals(t.registry)->count, 1);
		assert_string_equal(whose(&t, "10.1.1.50"), "?");
		assert_string_equal(whose(&t, "10.96.3.3"), "");
		assert_string_equal(whose(&t, "192.0.2.1"), "");
	}
	end(&t);
}

/* capture.cluster_pods is what somebody wrote. */
static void a_pod_space_that_can_not_be_stops_nothing(void **state)
{
	struct prefix spaces[] = { prefix("0.0.0.0/0"), prefix("10.3.0.0/16") };
	struct told t;

	(void)state;
	begin_with(&t, (struct registry_settings){ .pod_space = spaces, .pod_space_count = 2 });
	put_two_nodes(&t);
	publish(&t);
	assert_string_equal(whose(&t, "172.30.0.2"), "=n2");
	assert_string_equal(whose(&t, "10.3.1.9"), "?");
	assert_string_equal(whose(&t, "8.8.8.8"), "");
	assert_int_equal(t.refused, 1);
	assert_non_null(strstr(t.last, "cluster_pods: 0.0.0.0/0"));
	end(&t);
}

static void who_opted_out_is_said(void **state)
{
	struct registry_settings s = { .self = "n1", .is_space_opt_out_allowed = true, .is_pod_opt_out_allowed = true };
	struct told t;

	(void)state;
	begin_with(&t, s);
	put_two_nodes(&t);
	put_space(&t, "lab", true);
	put_pod(&t, .name = "lab/a", .node = "n2", .addresses = "10.1.0.5");
	put_pod(&t, .name = "shop/b", .node = "n2", .addresses = "10.1.0.6", .is_opted_out = true);
	put_pod(&t, .name = "shop/c", .node = "n2", .addresses = "10.1.0.7");
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.5"), "n2!");
	assert_string_equal(whose(&t, "10.1.0.6"), "n2!");
	assert_string_equal(whose(&t, "10.1.0.7"), "n2");
	put_space(&t, "lab", false);
	put_space(&t, "shop", true);
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.5"), "n2");
	assert_string_equal(whose(&t, "10.1.0.7"), "n2!");
	gone(&t, OBJECT_NAMESPACE, "shop");
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.7"), "n2");
	/* Pods' own word no more; then nobody's: lockdown. */
	put_space(&t, "shop", true);
	s.is_pod_opt_out_allowed = false;
	assert_int_equal(registry_apply(t.registry, &s), 0);
	put_space(&t, "shop", false);
	put_space(&t, "lab", true);
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.6"), "n2");
	assert_string_equal(whose(&t, "10.1.0.5"), "n2!");
	s.is_space_opt_out_allowed = false;
	assert_int_equal(registry_apply(t.registry, &s), 0);
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.5"), "n2");
	end(&t);
}

static void what_a_list_does_not_have_is_gone(void **state)
{
	struct told t;

	(void)state;
	begin(&t);
	put_two_nodes(&t);
	put_space(&t, "lab", true);
	put_pod(&t, .name = "lab/a", .node = "n2", .addresses = "10.1.0.5");
	put_pod(&t, .name = "shop/b", .node = "n2", .addresses = "10.1.0.6");
	publish(&t);
	/* A list that breaks off takes nothing away, and neither does the view between. */
	registry_list_began(t.registry, OBJECT_POD);
	put_pod(&t, .name = "lab/a", .node = "n2", .addresses = "10.1.0.5");
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.6"), "n2");
	registry_list_began(t.registry, OBJECT_POD);
	put_pod(&t, .name = "shop/b", .node = "n2", .addresses = "10.1.0.6");
	put_pod(&t, .name = "shop/c", .node = "n1", .addresses = "10.1.0.7");
	registry_list_ended(t.registry, OBJECT_POD);
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.5"), "n2-");
	assert_string_equal(whose(&t, "10.1.0.6"), "n2");
	assert_string_equal(whose(&t, "10.1.0.7"), "n1");

	registry_list_began(t.registry, OBJECT_NAMESPACE);
	registry_list_ended(t.registry, OBJECT_NAMESPACE);
	assert_int_equal(registry_counts(t.registry).namespaces, 0);
	registry_list_began(t.registry, OBJECT_RECORD);
	put_record(&t, "n1", "n1");
	registry_list_ended(t.registry, OBJECT_RECORD);
	publish(&t);
	assert_true(is_enrolled(&t, "n1"));
	assert_false(is_enrolled(&t, "n2"));
	registry_list_began(t.registry, OBJECT_NODE);
	put_node(&t, .name = "n1", .addresses = "172.30.0.1");
	registry_list_ended(t.registry, OBJECT_NODE);
	publish(&t);
	assert_int_equal(view_nodes_count(t.view), 1);
	assert_string_equal(whose(&t, "10.1.0.6"), "");
	end(&t);
}

static void what_a_list_has_and_can_not_be_taken_stays_as_it_was(void **state)
{
	const struct object_meta pod = { .name_space = "shop", .name = "b" }, node = { .name = "n2" }, space = { .name = "lab" };
	const struct object_meta fresh = { .name_space = "shop", .name = "new" };
	struct told t;

	(void)state;
	begin(&t);
	put_two_nodes(&t);
	put_space(&t, "lab", true);
	put_pod(&t, .name = "shop/b", .node = "n2", .addresses = "10.1.0.6");
	publish(&t);
	for (int kind = OBJECT_NODE; kind <= OBJECT_RECORD; kind++)
		registry_list_began(t.registry, (enum object_kind)kind);
	put_node(&t, .name = "n1", .addresses = "172.30.0.1");
	put_record(&t, "n1", "n1");
	registry_keep(t.registry, OBJECT_NODE, &node, "9 bytes that are no Node");
	registry_keep(t.registry, OBJECT_RECORD, &node, "9 bytes that are no Lease");
	registry_keep(t.registry, OBJECT_NAMESPACE, &space, "9 bytes that are no Namespace");
	registry_keep(t.registry, OBJECT_POD, &pod, "9 bytes that are no Pod");
	assert_string_equal(t.last, "pod shop/b: 9 bytes that are no Pod; what was known of it stays in force");
	for (int kind = OBJECT_NODE; kind <= OBJECT_RECORD; kind++)
		registry_list_ended(t.registry, (enum object_kind)kind);
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.6"), "n2");
	assert_true(is_enrolled(&t, "n2"));
	assert_int_equal(registry_counts(t.registry).namespaces, 1);
	assert_int_equal(registry_refusals(t.registry)->count, 4);
	/* Until it can be taken again, or is gone. */
	put_pod(&t, .name = "shop/b", .node = "n2", .addresses = "10.1.0.6");
	registry_gone(t.registry, OBJECT_NAMESPACE, &space);
	assert_int_equal(registry_refusals(t.registry)->count, 2);
	/* One that nothing is known of is no more than named. */
	registry_keep(t.registry, OBJECT_POD, &fresh, "9 bytes that are no Pod");
	assert_int_equal(registry_counts(t.registry).pods, 1);
	end(&t);
}

static void a_faulty_field_is_named_and_the_rest_is_taken(void **state)
{
	const struct object_fault fault = { "status.podIPs[1].ip: \"10.1.2\" is no address" };
	struct object o = { .kind = OBJECT_POD, .faults = &fault, .faults_count = 1 };
	struct addr a = addr("10.1.0.5");
	struct told t;

	(void)state;
	begin(&t);
	put_two_nodes(&t);
	o.pod = (struct object_pod){
		.meta = meta_of("shop/a"), .node = "n2", .addresses = &a, .addresses_count = 1, .phase = OBJECT_RUNNING
	};
	assert_int_equal(registry_put(t.registry, &o), 0);
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.5"), "n2");
	assert_string_equal(t.last, "pod shop/a: status.podIPs[1].ip: \"10.1.2\" is no address");
	/* Said once, and listed until it is mended. */
	assert_int_equal(registry_put(t.registry, &o), 0);
	assert_int_equal(t.refused, 1);
	assert_int_equal(registry_refusals(t.registry)->count, 1);
	o.faults_count = 0;
	assert_int_equal(registry_put(t.registry, &o), 0);
	assert_int_equal(registry_refusals(t.registry)->count, 0);
	put_pod(&t, .name = "shop/b", .node = "not a name", .addresses = "10.1.0.6");
	put_node(&t, .name = "Not-A-Name", .addresses = "172.30.0.9");
	publish(&t);
	assert_string_equal(whose(&t, "10.1.0.6"), "");
	assert_string_equal(whose(&t, "172.30.0.9"), "");
	assert_int_equal(registry_refusals(t.registry)->count, 2);
	assert_int_equal(registry_refusals(t.registry)->total, 3);
	end(&t);
}

static void the_list_of_refusals_has_an_end(void **state)
{
	struct told t;

	(void)state;
	begin(&t);
	put_two_nodes(&t);
	for (int i = 0; i < 2 * REFUSALS_MAX; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "shop/p%d", i);
		put_pod(&t, .name = name, .node = "n2", .addresses = "127.0.0.1");
	}
	assert_int_equal(registry_refusals(t.registry)->count, REFUSALS_MAX);
	assert_int_equal(registry_refusals(t.registry)->total, 2 * REFUSALS_MAX);
	gone(&t, OBJECT_POD, "shop/p3");
	assert_int_equal(registry_refusals(t.registry)->count, REFUSALS_MAX - 1);
	end(&t);
}

static void the_pods_of_culvert_itself_are_told(void **state)
{
	const struct view_node *n;
	struct told t;

	(void)state;
	begin_with(&t, (struct registry_settings){ .culvert_namespace = "sys" });
	put_two_nodes(&t);
	put_pod(&t, .name = "sys/culvert-a", .uid = "uid-a", .node = "n2", .addresses = "172.30.0.2", .is_host_network = true,
	        .is_culvert = true, .created_s = 100);
	put_pod(&t, .name = "shop/culvert-x", .uid = "uid-x", .node = "n2", .is_host_network = true, .is_culvert = true);
	publish(&t);
	n = view_node_by_name(t.view, "n2");
	assert_int_equal(n->daemons_count, 1);
	assert_string_equal(n->daemons[0].name_space, "sys");
	assert_string_equal(n->daemons[0].pod, "culvert-a");
	assert_string_equal(n->daemons[0].pod_uid, "uid-a");
	assert_int_equal(view_node_by_name(t.view, "n1")->daemons_count, 0);
	/* One takes the place of another: the one that stays is the first. */
	put_pod(&t, .name = "sys/culvert-a", .uid = "uid-a", .node = "n2", .is_host_network = true, .is_culvert = true, .created_s = 100,
	        .is_deleting = true);
	put_pod(&t, .name = "sys/culvert-b", .uid = "uid-b", .node = "n2", .is_host_network = true, .is_culvert = true, .created_s = 200);
	publish(&t);
	n = view_node_by_name(t.view, "n2");
	assert_int_equal(n->daemons_count, 2);
	assert_string_equal(n->daemons[0].pod_uid, "uid-b");
	assert_string_equal(n->daemons[1].pod_uid, "uid-a");
	gone(&t, OBJECT_POD, "sys/culvert-a");
	publish(&t);
	n = view_node_by_name(t.view, "n2");
	assert_int_equal(n->daemons_count, 1);
	assert_string_equal(n->daemons[0].pod_uid, "uid-b");
	gone(&t, OBJECT_POD, "sys/culvert-b");
	publish(&t);
	assert_int_equal(view_node_by_name(t.view, "n2")->daemons_count, 0);
	assert_int_equal(t.refused, 0);
	end(&t);
}

/* --- at random, and large --- */

enum { R_NODES = 6, R_PODS = 40, R_ADDRESSES = 64, R_ROUNDS = 3000 };

struct model {
	struct {
		bool is_there, is_leaving;
		unsigned node, address;
	} pods[R_PODS];
	struct {
		bool is_there, has_record, has_range;
	} nodes[R_NODES];
	bool is_opted_out[3]; /* namespaces */
};

static unsigned dice(uint64_t *seed, unsigned sides)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)(*seed >> 33) % sides;
}

static void tell_pod(struct told *t, const struct model *m, unsigned i)
{
	char name[32], node[16], address[32];

	(void)snprintf(name, sizeof(name), "s%u/p%u", i % 3, i);
	(void)snprintf(node, sizeof(node), "n%u", m->pods[i].node + 1);
	(void)snprintf(address, sizeof(address), "10.1.7.%u", m->pods[i].address);
	if (m->pods[i].is_there)
		put_pod(t, .name = name, .node = node, .addresses = address, .is_deleting = m->pods[i].is_leaving);
	else
		gone(t, OBJECT_POD, name);
}

static void tell_node(struct told *t, const struct model *m, unsigned i)
{
	char name[16], address[32], range[32];

	(void)snprintf(name, sizeof(name), "n%u", i + 1);
	(void)snprintf(address, sizeof(address), "172.30.0.%u", i + 1);
	(void)snprintf(range, sizeof(range), "10.1.%u.0/24", i + 5);
	if (m->nodes[i].is_there)
		put_node(t, .name = name, .addresses = address, .ranges = m->nodes[i].has_range ? range : "");
	else
		gone(t, OBJECT_NODE, name);
	if (m->nodes[i].has_record)
		put_record(t, name, name);
	else
		gone(t, OBJECT_RECORD, name);
}

static void tell_space(struct told *t, const struct model *m, unsigned i)
{
	char name[16];

	(void)snprintf(name, sizeof(name), "s%u", i);
	put_space(t, name, m->is_opted_out[i]);
}

static void tell_all(struct told *t, const struct model *m)
{
	for (int kind = 0; kind <= OBJECT_RECORD; kind++)
		registry_list_began(t->registry, (enum object_kind)kind);
	for (unsigned i = 0; i < R_NODES; i++)
		tell_node(t, m, i);
	for (unsigned i = 0; i < 3; i++)
		tell_space(t, m, i);
	for (unsigned i = 0; i < R_PODS; i++) {
		if (m->pods[i].is_there)
			tell_pod(t, m, i);
	}
	for (int kind = 0; kind <= OBJECT_RECORD; kind++)
		registry_list_ended(t->registry, (enum object_kind)kind);
}

static bool is_taken(const struct model *m, unsigned address)
{
	for (unsigned i = 0; i < R_PODS; i++) {
		if (m->pods[i].is_there && m->pods[i].address == address)
			return true;
	}
	return false;
}

static void change(struct told *t, struct model *m, uint64_t *seed)
{
	unsigned i = dice(seed, R_PODS), n = 1 + dice(seed, R_NODES - 1), address = dice(seed, R_ADDRESSES);

	switch (dice(seed, 12)) {
	case 0:
		m->nodes[n].is_there = !m->nodes[n].is_there;
		tell_node(t, m, n);
		break;
	case 1:
		m->nodes[n].has_record = !m->nodes[n].has_record;
		tell_node(t, m, n);
		break;
	case 2:
		m->nodes[n].has_range = !m->nodes[n].has_range;
		tell_node(t, m, n);
		break;
	case 3:
		m->is_opted_out[i % 3] = !m->is_opted_out[i % 3];
		tell_space(t, m, i % 3);
		break;
	case 4:
		tell_all(t, m);
		break;
	case 5:
		m->pods[i].is_there = false;
		tell_pod(t, m, i);
		break;
	case 6:
		m->pods[i].is_leaving = !m->pods[i].is_leaving;
		tell_pod(t, m, i);
		break;
	default:
		if (is_taken(m, address))
			break;
		/* A new pod, or one that was there, under this address, perhaps on another node. */
		m->pods[i].is_there = true;
		m->pods[i].address = address;
		m->pods[i].node = dice(seed, R_NODES);
		tell_pod(t, m, i);
		break;
	}
}

/* A pod of a node that is not there: whether it is early or late depends on history. */
static bool is_stray(const struct model *m, unsigned address)
{
	for (unsigned i = 0; i < R_PODS; i++) {
		if (m->pods[i].is_there && m->pods[i].address == address)
			return !m->nodes[m->pods[i].node].is_there;
	}
	return false;
}

static void compare(struct told *t, const struct model *m)
{
	struct told fresh;

	/* What is kept of pods that are gone is not known to one that begins now. */
	publish(t);
	pass(t, REGISTRY_KEEP_MS);
	begin(&fresh);
	tell_all(&fresh, m);
	publish(&fresh);
	for (unsigned a = 0; a < 256; a++) {
		for (unsigned c = 4; c < 12; c++) {
			char address[32];

			(void)snprintf(address, sizeof(address), "10.1.%u.%u", c, a);
			if (c != 7 || !is_stray(m, a))
				assert_string_equal(whose(t, address), whose(&fresh, address));
		}
	}
	for (unsigned i = 0; i < R_NODES; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "n%u", i + 1);
		assert_int_equal(!!view_node_by_name(t->view, name), m->nodes[i].is_there);
		assert_int_equal(is_enrolled(t, name), m->nodes[i].is_there && m->nodes[i].has_record);
	}
	assert_int_equal(registry_counts(t->registry).pods, registry_counts(fresh.registry).pods);
	assert_int_equal(registry_counts(t->registry).nodes, registry_counts(fresh.registry).nodes);
	end(&fresh);
}

static void any_history_ends_in_what_is_there(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 6; seed++) {
		struct model m = { .nodes[0] = { true, true, true } };
		uint64_t random = seed;
		struct told t;

		begin(&t);
		tell_all(&t, &m);
		for (unsigned round = 1; round <= R_ROUNDS; round++) {
			change(&t, &m, &random);
			if (dice(&random, 3) == 0)
				publish(&t);
			if (round % 100 == 0)
				compare(&t, &m);
		}
		end(&t);
	}
}

static int count_change(void *ctx, const struct prefix *p, const struct view_entry *before, const struct view_entry *after)
{
	(void)p;
	(void)before;
	(void)after;
	++*(unsigned *)ctx;
	return 0;
}

/* Of what the registry itself holds for a pod with one address and a name of Deployments' length. */
enum { S_NODES = 1000, S_PODS_EACH = 30, POD_BYTES_MAX = 180 };

static void a_large_cluster_costs_little_and_a_change_one_entry(void **state)
{
	size_t before_bytes, bytes;
	char name[96], node[16], text[32];
	struct view *before;
	unsigned changes = 0;
	struct told t;

	(void)state;
	begin(&t);
	for (unsigned n = 1; n <= S_NODES; n++) {
		(void)snprintf(node, sizeof(node), "n%u", n);
		(void)snprintf(text, sizeof(text), "172.30.%u.%u", n / 250, n % 250 + 1);
		put_node(&t, .name = node, .addresses = text);
		put_record(&t, node, node);
	}
	publish(&t);
	before_bytes = mallinfo2().uordblks;
	for (unsigned n = 1; n <= S_NODES; n++) {
		for (unsigned k = 0; k < S_PODS_EACH; k++) {
			(void)snprintf(name, sizeof(name), "shop/deployment-66b6c48dd5-%06u%02u", n, k);
			(void)snprintf(node, sizeof(node), "n%u", n);
			(void)snprintf(text, sizeof(text), "10.%u.%u.%u", n / 250 + 1, n % 250, k + 2);
			put_pod(&t, .name = name, .node = node, .addresses = text);
		}
	}
	bytes = mallinfo2().uordblks - before_bytes;
	assert_true(bytes / (S_NODES * S_PODS_EACH) <= POD_BYTES_MAX);
	publish(&t);
	assert_int_equal(view_entries_count(t.view, VIEW_POD), S_NODES * S_PODS_EACH);
	before = view_ref(t.view);
	put_pod(&t, .name = name, .node = "n1", .addresses = text, .is_deleting = true);
	publish(&t);
	assert_int_equal(view_diff(before, t.view, count_change, &changes), 0);
	assert_int_equal(changes, 1);
	view_unref(before);
	end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_running_pods_addresses_are_its_nodes),
		cmocka_unit_test(nothing_new_is_the_same_view),
		cmocka_unit_test(of_two_claims_the_older_pods_is_taken_and_the_other_named),
		cmocka_unit_test(of_two_pods_of_one_age_all_nodes_take_the_same),
		cmocka_unit_test(an_address_is_not_taken_over_while_its_owner_claims_it),
		cmocka_unit_test(running_goes_before_terminating),
		cmocka_unit_test(the_address_of_a_pod_that_is_gone_is_kept_for_ten_minutes),
		cmocka_unit_test(a_new_owner_has_a_kept_address_at_once),
		cmocka_unit_test(an_address_that_moves_in_one_turn_is_never_nobodys),
		cmocka_unit_test(what_no_enrolled_node_had_is_not_kept),
		cmocka_unit_test(a_pod_that_comes_before_its_node_is_pod_space),
		cmocka_unit_test(a_node_that_leaves_takes_its_addresses_with_it),
		cmocka_unit_test(a_node_that_is_replaced_in_one_turn_keeps_its_pods),
		cmocka_unit_test(a_record_enrolls_the_node_that_owns_it),
		cmocka_unit_test(our_own_node_stays_when_it_is_taken_out),
		cmocka_unit_test(addresses_of_nodes_change),
		cmocka_unit_test(an_address_of_two_nodes_is_the_older_ones),
		cmocka_unit_test(a_nodes_address_is_no_pods),
		cmocka_unit_test(a_node_does_not_take_a_pods_address),
		cmocka_unit_test(claims_that_a_daemon_finds_at_its_start_are_as_the_one_before_knew_them),
		cmocka_unit_test(what_is_remembered_is_no_claim),
		cmocka_unit_test(a_free_address_of_another_nodes_range_is_its_pods_when_one_has_it),
		cmocka_unit_test(a_range_counts_at_a_daemons_start_where_its_node_is_the_older),
		cmocka_unit_test(a_kept_address_that_becomes_a_nodes_stays_the_nodes),
		cmocka_unit_test(addresses_that_no_pod_can_have_are_refused),
		cmocka_unit_test(ranges_mark_the_pod_space),
		cmocka_unit_test(a_range_of_two_nodes_stays_while_one_has_it),
		cmocka_unit_test(ranges_are_ownership_where_they_are_told_to_be),
		cmocka_unit_test(ranges_that_can_not_be_are_refused),
		cmocka_unit_test(a_pod_space_that_can_not_be_stops_nothing),
		cmocka_unit_test(who_opted_out_is_said),
		cmocka_unit_test(what_a_list_does_not_have_is_gone),
		cmocka_unit_test(what_a_list_has_and_can_not_be_taken_stays_as_it_was),
		cmocka_unit_test(a_faulty_field_is_named_and_the_rest_is_taken),
		cmocka_unit_test(the_list_of_refusals_has_an_end),
		cmocka_unit_test(the_pods_of_culvert_itself_are_told),
		cmocka_unit_test(any_history_ends_in_what_is_there),
		cmocka_unit_test(a_large_cluster_costs_little_and_a_change_one_entry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
