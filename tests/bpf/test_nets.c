/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The kernel's map of addresses: what views and devices make of it, whatever the steps, and what happens where it is full. */
#include "edge/nets.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "unit/dice.h"
#include "unit/parsed.h"

enum { MAP_MAX = 256, WORKERS = 4, ADDRESSES_MAX = 8 };

static int nets_fd, peers_fd, names_fd;
static struct pairs *pairs;
static struct nets *nets;
static struct view *view; /* in force */
static char error[EDGE_ERROR_BYTES];
static uint64_t seed = 3;

static int make_map(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, no_prealloc, .map_flags = BPF_F_NO_PREALLOC);

	return bpf_map_create(BPF_MAP_TYPE_LPM_TRIE, "nets", sizeof(struct net_key), sizeof(struct net_value), MAP_MAX, &no_prealloc);
}

static int make_maps(void **state)
{
	LIBBPF_OPTS(bpf_map_create_opts, no_prealloc, .map_flags = BPF_F_NO_PREALLOC);

	(void)state;
	nets_fd = make_map();
	peers_fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "peers", 4, sizeof(struct peer_value), EDGE_PEERS_MAX, NULL);
	names_fd = bpf_map_create(BPF_MAP_TYPE_HASH, "names", 4, sizeof(struct peer_name), EDGE_PEERS_MAX, &no_prealloc);
	if (nets_fd < 0 || peers_fd < 0 || names_fd < 0) {
		print_message("skipped: maps can not be made: %s\n", strerror(errno));
		exit(77);
	}
	return 0;
}

static void start(void)
{
	assert_int_equal(pairs_create(peers_fd, names_fd, false, false, &pairs), 0);
	assert_int_equal(nets_create(nets_fd, WORKERS, pairs, &nets), 0);
}

/* As a daemon ends, and the next one counts its views anew. The maps stay. */
static void stop(void)
{
	nets_destroy(nets);
	pairs_destroy(pairs);
	view_unref(view);
	view = NULL;
}

static int begin(void **state)
{
	int code = make_maps(state);

	start();
	return code;
}

static int end(void **state)
{
	(void)state;
	stop();
	(void)close(nets_fd);
	(void)close(peers_fd);
	(void)close(names_fd);
	return 0;
}

/* Takes v over, whether it comes into force or not. */
static int set_view(struct view *v)
{
	int code;

	assert_int_equal(pairs_begin_view(pairs, view, v), 0);
	code = nets_set_view(nets, v, error);
	if (code) {
		view_unref(v);
		return code;
	}
	pairs_end_view(pairs);
	view_unref(view);
	view = v;
	return 0;
}

static struct view_edit *edit(void)
{
	struct view_edit *e;

	assert_int_equal(view_edit_begin(view, "node1", &e), 0);
	return e;
}

static struct view *finish(struct view_edit *e)
{
	struct view *v;

	assert_int_equal(view_edit_finish(e, &v), 0);
	return v;
}

static uint32_t put_node(struct view_edit *e, const char *name, const char *address)
{
	struct addr a = prefix(address).addr;
	struct view_node n = { .is_enrolled = true, .addresses_count = 1, .addresses = &a };
	uint32_t id;

	(void)snprintf(n.name, sizeof(n.name), "%s", name);
	assert_int_equal(view_edit_put_node(e, &n, &id), 0);
	return id;
}

static void set(struct view_edit *e, const char *text, enum view_kind kind, uint8_t flags, uint32_t node_id)
{
	struct prefix p = prefix(text);

	assert_int_equal(view_edit_set(e, &p, &(struct view_entry){ .kind = kind, .flags = flags, .node_id = node_id }), 0);
}

static void take_out(struct view_edit *e, const char *text)
{
	struct prefix p = prefix(text);

	assert_int_equal(view_edit_set(e, &p, NULL), 0);
}

static bool read_net(const char *text, struct net_value *ret)
{
	struct prefix p = prefix(text);
	struct net_key key = nets_key(&p), found = { 0 }, *at = NULL;

	/* By walking: a lookup would find the longest prefix. */
	while (!bpf_map_get_next_key(nets_fd, at, &found)) {
		if (!memcmp(&found, &key, sizeof(key)))
			return bpf_map_lookup_elem(nets_fd, &found, ret) == 0;
		at = &found;
	}
	return false;
}

static void expect_net(const char *text, enum net_kind kind, uint8_t flags, const char *node)
{
	struct net_value value = { 0 };

	if (!read_net(text, &value))
		fail_msg("%s is not in the map", text);
	assert_int_equal(value.kind, kind);
	assert_int_equal(value.flags, flags);
	assert_int_equal(value.peer, node ? pairs_place(pairs, view_node_by_name(view, node)) : 0);
	if (node)
		assert_int_equal(value.worker, view_home_worker(node, WORKERS));
}

static void expect_none(const char *text)
{
	struct net_value value;

	assert_false(read_net(text, &value));
}

static size_t map_count(void)
{
	struct net_key key, *at = NULL;
	size_t count = 0;

	while (!bpf_map_get_next_key(nets_fd, at, &key)) {
		at = &key;
		count++;
	}
	return count;
}

static int set_addresses(const char *const *texts, size_t count)
{
	struct addr addresses[ADDRESSES_MAX];

	for (size_t i = 0; i < count; i++)
		addresses[i] = prefix(texts[i]).addr;
	return nets_set_addresses(nets, addresses, count, error);
}

/* Two nodes with a pod each, and the pod space. */
static void begin_with_two(uint32_t *ret_id1, uint32_t *ret_id2)
{
	struct view_edit *e = edit();

	*ret_id1 = put_node(e, "node1", "192.0.2.1");
	*ret_id2 = put_node(e, "node2", "192.0.2.2");
	set(e, "10.0.0.0/8", VIEW_POD_SPACE, 0, *ret_id1);
	set(e, "10.1.0.7", VIEW_POD, 0, *ret_id1);
	set(e, "10.2.0.7", VIEW_POD, 0, *ret_id2);
	assert_int_equal(set_view(finish(e)), 0);
}

static void each_entry_says_who_is_behind_it(void **state)
{
	uint32_t id1, id2;
	struct view_edit *e;

	(void)state;
	begin_with_two(&id1, &id2);
	expect_net("192.0.2.1", NET_SELF, 0, NULL);
	expect_net("192.0.2.2", NET_NODE, 0, "node2");
	expect_net("10.0.0.0/8", NET_POD_SPACE, 0, NULL);
	expect_net("10.1.0.7", NET_OWN_POD, 0, NULL);
	expect_net("10.2.0.7", NET_POD, 0, "node2");
	assert_int_equal(map_count(), 5);

	e = edit();
	set(e, "10.2.0.7", VIEW_POD, VIEW_ENTRY_ENDING, id2);
	set(e, "10.2.0.8", VIEW_POD, VIEW_ENTRY_OPTED_OUT, id2);
	set(e, "10.1.0.8", VIEW_POD, VIEW_ENTRY_OPTED_OUT, id1);
	take_out(e, "10.1.0.7");
	assert_int_equal(set_view(finish(e)), 0);
	expect_net("10.2.0.7", NET_POD, NET_ENDING, "node2");
	expect_net("10.2.0.8", NET_POD, NET_OPTED_OUT, "node2");
	expect_net("10.1.0.8", NET_OWN_POD, NET_OPTED_OUT, NULL);
	expect_none("10.1.0.7");
	assert_int_equal(map_count(), 6);

	/* A node goes with all that is its. */
	e = edit();
	assert_int_equal(view_edit_remove_node(e, "node2"), 0);
	assert_int_equal(set_view(finish(e)), 0);
	expect_none("10.2.0.7");
	expect_none("192.0.2.2");
	assert_int_equal(map_count(), 3);
}

static void addresses_of_our_devices_are_ours_unless_the_cluster_gives_them_to_another(void **state)
{
	static const char *const addresses[] = { "192.0.2.1", "10.1.0.1", "10.2.0.7", "203.0.113.9", "10.1.0.1" };
	uint32_t id1, id2;
	struct view_edit *e;

	(void)state;
	/* Before the first view nothing is written. */
	assert_int_equal(set_addresses(addresses, 5), 0);
	assert_int_equal(map_count(), 0);
	begin_with_two(&id1, &id2);
	expect_net("192.0.2.1", NET_SELF, 0, NULL);
	expect_net("10.1.0.1", NET_SELF, NET_UNNAMED, NULL);
	expect_net("203.0.113.9", NET_SELF, NET_UNNAMED, NULL);
	expect_net("10.2.0.7", NET_POD, 0, "node2");
	assert_int_equal(map_count(), 7);

	/* A range around one that is there already: what peers make of it is another thing then. */
	e = edit();
	set(e, "10.1.0.0/24", VIEW_POD, 0, id1);
	assert_int_equal(set_view(finish(e)), 0);
	expect_net("10.1.0.1", NET_SELF, NET_IN_POD_RANGE, NULL);
	e = edit();
	set(e, "10.1.0.0/24", VIEW_POD, 0, id2);
	assert_int_equal(set_view(finish(e)), 0);
	expect_none("10.1.0.1");
	e = edit();
	take_out(e, "10.1.0.0/24");
	take_out(e, "10.2.0.7");
	assert_int_equal(set_view(finish(e)), 0);
	expect_net("10.1.0.1", NET_SELF, NET_UNNAMED, NULL);
	expect_net("10.2.0.7", NET_SELF, NET_UNNAMED, NULL);

	/* Devices go: what the view says of their addresses stays. */
	assert_int_equal(set_addresses(addresses + 2, 1), 0);
	expect_none("10.1.0.1");
	expect_none("203.0.113.9");
	expect_net("192.0.2.1", NET_SELF, 0, NULL);
	expect_net("10.2.0.7", NET_SELF, NET_UNNAMED, NULL);
	assert_int_equal(set_addresses(NULL, 0), 0);
	expect_none("10.2.0.7");
}

/* The map is what a daemon makes of a new one that begins with this view and these addresses. */
static void expect_as_from_nothing(const struct addr *addresses, size_t count)
{
	int fd = make_map();
	struct net_key key, *at = NULL;
	struct net_value value, other;
	struct nets *fresh;
	size_t entries = 0;

	assert_true(fd >= 0);
	assert_int_equal(nets_create(fd, WORKERS, pairs, &fresh), 0);
	assert_int_equal(nets_set_addresses(fresh, addresses, count, error), 0);
	assert_int_equal(nets_set_view(fresh, view, error), 0);
	for (; !bpf_map_get_next_key(fd, at, &key); at = &key, entries++) {
		struct prefix p = { .len_bits = (uint8_t)key.prefix_bits };
		char text[PREFIX_TEXT_BYTES];

		memcpy(p.addr.bytes, key.addr, sizeof(key.addr));
		assert_int_equal(bpf_map_lookup_elem(fd, &key, &value), 0);
		assert_true(read_net(prefix_print(&p, text), &other));
		assert_memory_equal(&value, &other, sizeof(value));
	}
	assert_int_equal(map_count(), entries);
	nets_destroy(fresh);
	(void)close(fd);
}

static void every_way_leads_to_the_same_map(void **state)
{
	static const char *const names[] = { "node2", "node3", "node4", "node5" };
	const struct addr own[] = { prefix("10.3.0.1").addr,  prefix("10.3.1.1").addr, prefix("10.7.7.7").addr,
		                    prefix("192.0.2.1").addr, prefix("10.3.0.2").addr, prefix("172.16.0.1").addr };
	size_t own_first = 0, own_count = 0;
	struct view_edit *e = edit();
	char text[32];

	(void)state;
	(void)put_node(e, "node1", "192.0.2.1");
	assert_int_equal(set_view(finish(e)), 0);
	for (unsigned round = 0; round < 400; round++) {
		e = edit();
		for (unsigned changes = dice(&seed, 6); changes > 0; changes--) {
			const char *name = names[dice(&seed, 4)];
			uint32_t id = view_self(view)->id;

			if (dice(&seed, 8) == 0) {
				assert_int_equal(view_edit_remove_node(e, name), 0);
				continue;
			}
			if (dice(&seed, 4)) {
				(void)snprintf(text, sizeof(text), "192.0.2.%d", name[4] - '0' + (dice(&seed, 4) ? 0 : 100));
				id = put_node(e, name, text);
			}
			(void)snprintf(text, sizeof(text), "10.3.%u.%u", dice(&seed, 2), dice(&seed, 6));
			if (dice(&seed, 5) == 0)
				(void)snprintf(text, sizeof(text), "10.3.%u.0/24", dice(&seed, 2));
			if (dice(&seed, 4) == 0)
				take_out(e, text);
			else
				set(e, text, dice(&seed, 6) ? VIEW_POD : VIEW_POD_SPACE, (uint8_t)dice(&seed, 4), id);
		}
		assert_int_equal(set_view(finish(e)), 0);
		if (dice(&seed, 3) == 0) {
			own_first = dice(&seed, 6);
			own_count = dice(&seed, 7 - (uint32_t)own_first);
			assert_int_equal(nets_set_addresses(nets, own + own_first, own_count, error), 0);
		}
		expect_as_from_nothing(own + own_first, own_count);
	}
}

static void what_an_earlier_daemon_left_is_brought_to_the_first_view(void **state)
{
	uint32_t id1, id2;
	struct view_edit *e;

	(void)state;
	begin_with_two(&id1, &id2);
	stop();
	start();
	/* Still as it was. */
	assert_int_equal(map_count(), 5);
	e = edit();
	id1 = put_node(e, "node1", "192.0.2.1");
	(void)put_node(e, "node3", "192.0.2.3");
	id2 = put_node(e, "node2", "192.0.2.2");
	set(e, "10.2.0.7", VIEW_POD, 0, id2);
	set(e, "10.1.0.7", VIEW_POD, VIEW_ENTRY_OPTED_OUT, id1);
	assert_int_equal(set_view(finish(e)), 0);
	expect_net("10.2.0.7", NET_POD, 0, "node2");
	expect_net("10.1.0.7", NET_OWN_POD, NET_OPTED_OUT, NULL);
	expect_net("192.0.2.3", NET_NODE, 0, "node3");
	expect_none("10.0.0.0/8");
	assert_int_equal(map_count(), 5);
}

static void fill(struct view_edit *e, unsigned first, unsigned count, uint32_t id)
{
	char text[32];

	for (unsigned i = first; i < first + count; i++) {
		(void)snprintf(text, sizeof(text), "10.9.%u.%u", i / 256, i % 256);
		set(e, text, VIEW_POD, 0, id);
	}
}

static void what_does_not_fit_changes_nothing(void **state)
{
	static const char *const addresses[] = { "203.0.113.1", "203.0.113.2" };
	uint32_t id1, id2;
	struct view_edit *e;

	(void)state;
	begin_with_two(&id1, &id2);
	e = edit();
	fill(e, 0, MAP_MAX - 5, id2);
	assert_int_equal(set_view(finish(e)), 0);
	assert_int_equal(map_count(), MAP_MAX);

	e = edit();
	fill(e, 1000, 2, id2);
	take_out(e, "10.1.0.7");
	assert_int_equal(set_view(finish(e)), -E2BIG);
	assert_string_equal(error, "257 addresses and prefixes; the kernel's map takes 256, so what it held before stays in force");
	expect_net("10.1.0.7", NET_OWN_POD, 0, NULL);
	assert_int_equal(map_count(), MAP_MAX);
	assert_int_equal(set_addresses(addresses, 2), -E2BIG);
	assert_int_equal(map_count(), MAP_MAX);

	/* What takes the place of others fits, though not both at once. */
	e = edit();
	for (unsigned i = 0; i < 100; i++) {
		char text[32];

		(void)snprintf(text, sizeof(text), "10.9.0.%u", i);
		take_out(e, text);
	}
	fill(e, 2000, 100, id1);
	assert_int_equal(set_view(finish(e)), 0);
	assert_int_equal(map_count(), MAP_MAX);
	expect_net("10.9.7.208", NET_OWN_POD, 0, NULL);
	expect_none("10.9.0.99");
}

static void a_step_that_fails_half_way_is_taken_back(void **state)
{
	struct prefix foreign[8], p = prefix("10.1.0.7");
	struct net_value value = { .kind = NET_POD };
	uint32_t id1, id2;
	struct view_edit *e;
	char text[32];

	(void)state;
	begin_with_two(&id1, &id2);
	e = edit();
	fill(e, 0, MAP_MAX - 5 - 8, id2);
	assert_int_equal(set_view(finish(e)), 0);
	/* Somebody else fills the room that is left. */
	for (size_t i = 0; i < 8; i++) {
		struct net_key key;

		(void)snprintf(text, sizeof(text), "198.51.100.%zu", i);
		foreign[i] = prefix(text);
		key = nets_key(&foreign[i]);
		assert_int_equal(bpf_map_update_elem(nets_fd, &key, &value, BPF_ANY), 0);
	}
	e = edit();
	assert_int_equal(view_edit_set(e, &p, NULL), 0);
	set(e, "10.2.0.7", VIEW_POD, VIEW_ENTRY_ENDING, id2);
	fill(e, 3000, 4, id2);
	assert_int_equal(set_view(finish(e)), -ENOSPC);
	assert_non_null(strstr(error, "what it held before stays in force"));
	expect_net("10.1.0.7", NET_OWN_POD, 0, NULL);
	expect_net("10.2.0.7", NET_POD, 0, "node2");
	expect_none("10.9.11.184");
	assert_int_equal(map_count(), MAP_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_entry_says_who_is_behind_it, begin, end),
		cmocka_unit_test_setup_teardown(addresses_of_our_devices_are_ours_unless_the_cluster_gives_them_to_another, begin, end),
		cmocka_unit_test_setup_teardown(every_way_leads_to_the_same_map, begin, end),
		cmocka_unit_test_setup_teardown(what_an_earlier_daemon_left_is_brought_to_the_first_view, begin, end),
		cmocka_unit_test_setup_teardown(what_does_not_fit_changes_nothing, begin, end),
		cmocka_unit_test_setup_teardown(a_step_that_fails_half_way_is_taken_back, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
