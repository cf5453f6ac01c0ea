/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The state of pairs in the kernel's maps: what views and peers make of it, and what a daemon takes over from the one before. */
#include "edge/pairs.h"

#include "base/clock.h"

#include "shared.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static int peers_fd, names_fd;
static struct pairs *pairs;
static struct view *view;

enum { US = 1, NODE2 = 2, NODE3 = 4 }; /* who is enrolled */

static uint64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* names: our own is node1. */
static void set_view(const char *const *names, size_t count, unsigned enrolled)
{
	struct view *old = view;
	struct view_edit *edit;
	uint32_t id;

	assert_int_equal(view_edit_begin(old, "node1", &edit), 0);
	for (size_t i = 0; old && i < view_nodes_count(old); i++) {
		bool is_there = false;

		for (size_t k = 0; k < count; k++)
			is_there = is_there || !strcmp(view_node_at(old, i)->name, names[k]);
		if (!is_there)
			assert_int_equal(view_edit_remove_node(edit, view_node_at(old, i)->name), 0);
	}
	for (size_t i = 0; i < count; i++) {
		struct view_node n = { .is_enrolled = enrolled >> (names[i][4] - '1') & 1 };

		strcpy(n.name, names[i]);
		assert_int_equal(view_edit_put_node(edit, &n, &id), 0);
	}
	assert_int_equal(view_edit_finish(edit, &view), 0);
	assert_int_equal(pairs_begin_view(pairs, old, view), 0);
	pairs_end_view(pairs);
	view_unref(old);
}

static const char *const all[] = { "node1", "node2", "node3" };

static struct peer_value value_of(const char *name)
{
	uint32_t place = pairs_place(pairs, view_node_by_name(view, name));
	struct peer_value value;

	assert_int_not_equal(place, 0);
	assert_int_equal(pairs_node_id(pairs, place), view_node_by_name(view, name)->id);
	assert_int_equal(bpf_map_lookup_elem(peers_fd, &place, &value), 0);
	return value;
}

static void begin(bool is_fresh, bool has_records)
{
	assert_int_equal(pairs_create(peers_fd, names_fd, is_fresh, has_records, &pairs), 0);
}

/* The daemon ends, however it does, and the next one counts its ids anew. */
static void end(void)
{
	pairs_destroy(pairs);
	view_unref(view);
	view = NULL;
}

static int setup(void **state)
{
	(void)state;
	peers_fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "peers", sizeof(uint32_t), sizeof(struct peer_value), EDGE_PEERS_MAX, NULL);
	names_fd = bpf_map_create(BPF_MAP_TYPE_HASH, "peer_names", sizeof(uint32_t), sizeof(struct peer_name), EDGE_PEERS_MAX, NULL);
	return peers_fd < 0 || names_fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	end();
	close(peers_fd);
	close(names_fd);
	return 0;
}

static void with_a_nodes_file_all_are_joined_at_once(void **state)
{
	(void)state;
	begin(true, false);
	set_view(all, 2, US | NODE2 | NODE3);
	assert_int_equal(value_of("node2").egress_strict_ns, 1);
	assert_int_equal(value_of("node2").ingress_strict_ns, 1);
	assert_int_equal(pairs_hear(pairs, "node2", PAIR_NOT_ENROLLED), PAIR_JOINED);
	set_view(all, 3, US | NODE2 | NODE3);
	assert_int_equal(value_of("node3").egress_strict_ns, 1);
	assert_int_equal(pairs_hear(pairs, "node9", PAIR_JOINED), PAIR_NOT_ENROLLED);
}

static void a_pair_joins_when_both_have_said_so(void **state)
{
	uint64_t before_ns;
	struct peer_value value;

	(void)state;
	begin(true, true);
	set_view(all, 3, NODE2);
	assert_int_equal(value_of("node2").egress_strict_ns, 0);
	assert_int_equal(pairs_hear(pairs, "node2", PAIR_JOINED), PAIR_NOT_ENROLLED);
	set_view(all, 3, US | NODE3);
	assert_int_equal(value_of("node2").egress_strict_ns, 0);

	before_ns = monotonic_ns();
	set_view(all, 3, US | NODE2 | NODE3);
	value = value_of("node2");
	assert_true(value.egress_strict_ns >= before_ns + EDGE_JOIN_EGRESS_NS &&
	            value.egress_strict_ns <= monotonic_ns() + EDGE_JOIN_EGRESS_NS);
	assert_true(value.ingress_strict_ns >= before_ns + EDGE_JOIN_INGRESS_NS);
	assert_true(value.ingress_strict_ns > value.egress_strict_ns);
	/* Its time does not begin anew with each view. */
	set_view(all, 3, US | NODE2 | NODE3);
	assert_int_equal(value_of("node2").egress_strict_ns, value.egress_strict_ns);
	assert_int_equal(pairs_hear(pairs, "node2", PAIR_NOT_ENROLLED), PAIR_JOINING);
	assert_int_equal(value_of("node2").egress_strict_ns, value.egress_strict_ns);

	/* It holds the pair enrolled: nothing more goes out; what it let go a moment before still comes in. */
	assert_int_equal(pairs_hear(pairs, "node2", PAIR_JOINING), PAIR_JOINED);
	assert_true(value_of("node2").egress_strict_ns <= monotonic_ns());
	assert_int_equal(value_of("node2").ingress_strict_ns, value.ingress_strict_ns);
	/* It lets nothing go any more: soon nothing comes in. */
	assert_int_equal(pairs_hear(pairs, "node2", PAIR_JOINED), PAIR_JOINED);
	value = value_of("node2");
	assert_true(value.ingress_strict_ns <= monotonic_ns() + EDGE_JOIN_GRACE_NS);
	/* What it says later changes nothing. */
	assert_int_equal(pairs_hear(pairs, "node2", PAIR_JOINED), PAIR_JOINED);
	assert_int_equal(pairs_hear(pairs, "node2", PAIR_NOT_ENROLLED), PAIR_JOINED);
	assert_int_equal(value_of("node2").ingress_strict_ns, value.ingress_strict_ns);
	assert_int_equal(pairs_hear(pairs, "node3", PAIR_NOT_ENROLLED), PAIR_JOINING);
}

static void only_a_deliberate_act_takes_a_pair_apart(void **state)
{
	uint64_t joined_ns;

	(void)state;
	begin(true, true);
	set_view(all, 3, 0);
	set_view(all, 3, US | NODE2);
	assert_int_equal(pairs_hear(pairs, "node2", PAIR_JOINED), PAIR_JOINED);
	assert_int_equal(pairs_set_reach(pairs, "node2", 0, (struct pair_reach){ .is_up = true }), 0);
	joined_ns = value_of("node2").egress_strict_ns;
	assert_int_equal(value_of("node2").takers_count, 1);
	assert_int_equal(pairs_set_reach(pairs, "node2", 0, (struct pair_reach){ .is_up = true, .is_silent = true }), 0);
	assert_true(value_of("node2").is_silent == 1 && value_of("node2").takers_count == 1);
	assert_int_equal(pairs_set_reach(pairs, "node2", 0, (struct pair_reach){ .is_up = true }), 0);
	assert_true(value_of("node2").is_silent == 0 && value_of("node2").takers_count == 1);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pairs_count_silent_flow(pairs, "node2", true), 0);
	assert_int_equal(pairs_count_silent_flow(pairs, "node2", false), 0);
	assert_true(value_of("node2").has_silent_flows == 1 && value_of("node2").is_silent == 0);
	for (int i = 0; i < 2; i++) /* one more than there were is harmless */
		assert_int_equal(pairs_count_silent_flow(pairs, "node2", false), 0);
	assert_int_equal(value_of("node2").has_silent_flows, 0);
	assert_int_equal(pairs_count_silent_flow(pairs, "node9", true), -ENOENT);
	assert_int_equal(pairs_count_silent_flow(pairs, "node2", true), 0); /* a restart forgets it */
	assert_int_equal(pairs_set_reach(pairs, "node2", 0, (struct pair_reach){ 0 }), 0);
	assert_int_equal(value_of("node2").takers_count, 0);
	assert_int_equal(value_of("node2").egress_strict_ns, joined_ns);
	assert_int_equal(pairs_set_reach(pairs, "node2", 0, (struct pair_reach){ .is_up = true }), 0);

	/* A restart, in which its id and its place in the order are others; the kernel knows of no tunnel then. */
	end();
	begin(false, true);
	set_view((const char *const[]){ "edge5", "node1", "node2", "node3" }, 4, US | NODE2 | NODE3);
	assert_int_equal(value_of("node2").egress_strict_ns, joined_ns);
	assert_int_equal(value_of("node2").takers_count, 0);
	assert_int_equal(value_of("node2").has_silent_flows, 0);
	assert_int_equal(pairs_hear(pairs, "node2", PAIR_NOT_ENROLLED), PAIR_JOINED);

	/* Its record is gone, and made again: it joins once more. */
	set_view(all, 3, US);
	assert_int_equal(value_of("node2").egress_strict_ns, 0);
	assert_int_equal(value_of("node2").ingress_strict_ns, 0);
	set_view(all, 3, US | NODE2);
	assert_int_equal(pairs_hear(pairs, "node2", PAIR_NOT_ENROLLED), PAIR_JOINING);
	/* So it is where this node's own is. */
	assert_int_equal(pairs_hear(pairs, "node2", PAIR_JOINED), PAIR_JOINED);
	set_view(all, 3, NODE2);
	assert_int_equal(pairs_hear(pairs, "node2", PAIR_JOINED), PAIR_NOT_ENROLLED);
}

/* Its streams live on the tunnels of several workers. */
static void a_node_is_silent_only_where_no_worker_is_answered(void **state)
{
	const struct pair_reach up = { .is_up = true, .is_answering = true }, answering = { .is_answering = true },
				silent = { .is_up = true, .is_silent = true }, none = { 0 };

	(void)state;
	begin(true, false);
	set_view(all, 2, US | NODE2);
	assert_int_equal(pairs_set_reach(pairs, "node2", 0, up), 0);
	assert_int_equal(pairs_set_reach(pairs, "node2", 7, answering), 0);
	assert_int_equal(pairs_set_reach(pairs, "node2", 0, silent), 0);
	assert_true(value_of("node2").takers_count == 1 && value_of("node2").is_silent == 0);
	/* The other is lost: what is left is silent. */
	assert_int_equal(pairs_set_reach(pairs, "node2", 7, none), 0);
	assert_true(value_of("node2").takers_count == 1 && value_of("node2").is_silent == 1);
	assert_int_equal(pairs_set_reach(pairs, "node2", 7, answering), 0);
	assert_int_equal(value_of("node2").is_silent, 0);
	/* Not its home alone: one that is silent elsewhere, with none at home. */
	assert_int_equal(pairs_set_reach(pairs, "node2", 0, none), 0);
	assert_true(value_of("node2").takers_count == 0 && value_of("node2").is_silent == 0);
	assert_int_equal(pairs_set_reach(pairs, "node2", 7, (struct pair_reach){ .is_silent = true }), 0);
	assert_int_equal(value_of("node2").is_silent, 1);
	assert_int_equal(pairs_set_reach(pairs, "node2", 0, up), 0);
	assert_true(value_of("node2").takers_count == 1 && value_of("node2").is_silent == 0);
}

static void expect_takers(const char *node, uint8_t count, const uint8_t *takers)
{
	struct peer_value value = value_of(node);
	uint8_t whole[EDGE_TAKERS_MAX] = { 0 };

	memcpy(whole, takers, count);
	assert_int_equal(value.takers_count, count);
	assert_memory_equal(value.takers, whole, sizeof(whole));
}

#define TAKERS(node, ...) expect_takers(node, sizeof((const uint8_t[]){ __VA_ARGS__ }), (const uint8_t[]){ __VA_ARGS__ })

static void a_full_worker_takes_nothing_where_another_does(void **state)
{
	const struct pair_reach up = { .is_up = true, .is_answering = true }, none = { 0 };

	(void)state;
	begin(true, false);
	set_view(all, 3, US | NODE2 | NODE3);
	assert_int_equal(pairs_set_reach(pairs, "node2", 5, up), 0);
	assert_int_equal(pairs_set_reach(pairs, "node2", 1, up), 0);
	assert_int_equal(pairs_set_reach(pairs, "node3", 1, up), 0);
	TAKERS("node2", 1, 5);
	assert_int_equal(pairs_set_full(pairs, 1, true), 0);
	TAKERS("node2", 5);
	TAKERS("node3", 1); /* nobody else does */
	/* All are: none is better than another. */
	assert_int_equal(pairs_set_full(pairs, 5, true), 0);
	TAKERS("node2", 1, 5);
	assert_int_equal(pairs_set_full(pairs, 1, false), 0);
	TAKERS("node2", 1);
	/* Also one that comes while it is full. */
	assert_int_equal(pairs_set_reach(pairs, "node3", 5, up), 0);
	TAKERS("node3", 1);
	assert_int_equal(pairs_set_reach(pairs, "node3", 1, none), 0);
	TAKERS("node3", 5);
	assert_int_equal(pairs_set_reach(pairs, "node3", 5, none), 0);
	assert_int_equal(value_of("node3").takers_count, 0);
	assert_false(pairs_is_up(pairs, "node3"));
	/* The next daemon's workers have nothing yet. */
	end();
	begin(false, false);
	set_view(all, 3, US | NODE2 | NODE3);
	assert_int_equal(value_of("node2").takers_count, 0);
}

static void more_workers_than_places(void **state)
{
	(void)state;
	begin(true, false);
	set_view(all, 2, US | NODE2);
	for (uint32_t worker = 0; worker < EDGE_WORKERS_MAX; worker++)
		assert_int_equal(pairs_set_reach(pairs, "node2", worker, (struct pair_reach){ .is_up = true }), 0);
	TAKERS("node2", 0, 1, 2, 3, 4, 5, 6, 7);
}

static void the_next_lane_has_no_tunnel_and_is_not_full(void **state)
{
	const struct pair_reach up = { .is_up = true, .is_answering = true }, silent = { .is_silent = true };
	struct pairs_lanes lanes = { .home = 3, .workers = 4, .lanes = 4 };
	uint32_t worker = 99;

	(void)state;
	begin(true, false);
	set_view(all, 2, US | NODE2);
	assert_int_equal(pairs_set_reach(pairs, "node2", 3, up), 0);
	assert_true(pairs_next_lane(pairs, "node2", &lanes, &worker));
	assert_int_equal(worker, 0);
	assert_int_equal(pairs_set_full(pairs, 0, true), 0);
	assert_true(pairs_next_lane(pairs, "node2", &lanes, &worker));
	assert_int_equal(worker, 1);
	/* One that is not answered is one as well. */
	assert_int_equal(pairs_set_reach(pairs, "node2", 1, silent), 0);
	assert_true(pairs_next_lane(pairs, "node2", &lanes, &worker));
	assert_int_equal(worker, 2);
	lanes.lanes = 3; /* by a setting */
	assert_false(pairs_next_lane(pairs, "node2", &lanes, &worker));
	lanes.lanes = 4;
	assert_false(pairs_next_lane(pairs, "node9", &lanes, &worker));
	assert_int_equal(pairs_set_reach(pairs, "node2", 2, up), 0);
	assert_int_equal(pairs_set_full(pairs, 0, false), 0);
	lanes.home = 1;
	lanes.workers = 2; /* fewer than lanes */
	assert_true(pairs_next_lane(pairs, "node2", &lanes, &worker));
	assert_int_equal(worker, 0);
	assert_int_equal(pairs_set_reach(pairs, "node2", 0, up), 0);
	assert_false(pairs_next_lane(pairs, "node2", &lanes, &worker));
}

static void a_restart_while_a_pair_joins_goes_on_with_its_time(void **state)
{
	uint64_t egress_ns;

	(void)state;
	begin(true, true);
	set_view(all, 2, 0);
	set_view(all, 2, US | NODE2);
	egress_ns = value_of("node2").egress_strict_ns;
	end();
	begin(false, true);
	set_view(all, 3, US | NODE2 | NODE3);
	assert_int_equal(value_of("node2").egress_strict_ns, egress_ns);
	/* Enrolled while no daemon was there. */
	assert_int_equal(pairs_hear(pairs, "node3", PAIR_NOT_ENROLLED), PAIR_JOINING);
}

static void after_a_reboot_nothing_joins_again(void **state)
{
	(void)state;
	begin(true, true);
	set_view(all, 2, US | NODE2);
	assert_int_equal(value_of("node2").egress_strict_ns, 1);
	/* One that comes later joins. */
	set_view(all, 3, US | NODE2 | NODE3);
	assert_int_equal(pairs_hear(pairs, "node3", PAIR_NOT_ENROLLED), PAIR_JOINING);
}

static void a_node_that_left_gives_up_its_place(void **state)
{
	struct peer_value value;
	struct peer_name name;
	uint32_t place;

	(void)state;
	begin(true, false);
	set_view(all, 3, US | NODE2 | NODE3);
	place = pairs_place(pairs, view_node_by_name(view, "node2"));
	assert_int_equal(pairs_set_reach(pairs, "node2", 1, (struct pair_reach){ .is_up = true }), 0);
	set_view((const char *const[]){ "node1", "node3" }, 2, US | NODE3);
	assert_int_equal(pairs_set_full(pairs, 1, true), 0);
	assert_int_equal(bpf_map_lookup_elem(peers_fd, &place, &value), 0);
	assert_int_equal(value.egress_strict_ns, 0);
	assert_int_equal(value.takers_count, 0);
	assert_int_not_equal(bpf_map_lookup_elem(names_fd, &place, &name), 0);
	assert_int_equal(pairs_node_id(pairs, place), 0);
	assert_int_equal(pairs_set_reach(pairs, "node2", 0, (struct pair_reach){ .is_up = true }), 0);
	assert_int_equal(value_of("node3").egress_strict_ns, 1);
	set_view((const char *const[]){ "node1", "node3", "node4" }, 3, US | NODE3 | 8);
	assert_int_equal(pairs_place(pairs, view_node_by_name(view, "node4")), place);
	assert_int_equal(value_of("node4").takers_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(with_a_nodes_file_all_are_joined_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(a_pair_joins_when_both_have_said_so, setup, teardown),
		cmocka_unit_test_setup_teardown(only_a_deliberate_act_takes_a_pair_apart, setup, teardown),
		cmocka_unit_test_setup_teardown(a_node_is_silent_only_where_no_worker_is_answered, setup, teardown),
		cmocka_unit_test_setup_teardown(a_full_worker_takes_nothing_where_another_does, setup, teardown),
		cmocka_unit_test_setup_teardown(more_workers_than_places, setup, teardown),
		cmocka_unit_test_setup_teardown(the_next_lane_has_no_tunnel_and_is_not_full, setup, teardown),
		cmocka_unit_test_setup_teardown(a_restart_while_a_pair_joins_goes_on_with_its_time, setup, teardown),
		cmocka_unit_test_setup_teardown(after_a_reboot_nothing_joins_again, setup, teardown),
		cmocka_unit_test_setup_teardown(a_node_that_left_gives_up_its_place, setup, teardown),
	};

	if (geteuid() != 0) {
		printf("skipped: root is needed to make BPF maps\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
