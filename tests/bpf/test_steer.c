/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which worker's listener a diverted connection gets. */
#include "fixture.h"

#include "steer.skel.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct fixture f;
static struct steer_bpf *steer;
static int listeners[4][2];

static int start(void **state)
{
	static const int families[2] = { AF_INET, AF_INET6 };
	struct bpf_map *m;

	(void)state;
	fixture_kill(&f);
	steer = steer_bpf__open();
	assert_non_null(steer);
	bpf_object__for_each_map(m, steer->obj) {
		const struct bpf_map *theirs = bpf_object__find_map_by_name(f.edge->obj, bpf_map__name(m));

		if (theirs && !strchr(bpf_map__name(m), '.'))
			assert_int_equal(bpf_map__reuse_fd(m, bpf_map__fd(theirs)), 0);
	}
	assert_int_equal(steer_bpf__load(steer), 0);
	for (uint32_t worker = 0; worker < 4; worker++) {
		for (uint32_t i = 0; i < 2; i++) {
			uint32_t key = worker * 2 + i;
			uint64_t value;

			listeners[worker][i] = socket(families[i], SOCK_STREAM, 0);
			assert_int_equal(listen(listeners[worker][i], 1), 0);
			value = (uint64_t)listeners[worker][i];
			assert_int_equal(bpf_map_update_elem(bpf_map__fd(f.edge->maps.listeners), &key, &value, BPF_ANY), 0);
		}
	}
	return 0;
}

static int stop(void **state)
{
	(void)state;
	for (int worker = 0; worker < 4; worker++)
		for (int i = 0; i < 2; i++)
			if (listeners[worker][i] >= 0)
				close(listeners[worker][i]);
	steer_bpf__destroy(steer);
	return 0;
}

static void close_listener(int worker, bool is_v6)
{
	close(listeners[worker][is_v6]);
	listeners[worker][is_v6] = -1;
}

/* Asks for a connection to dest; the program's verdict, and the chosen socket's cookie, 0 for none. */
static int ask(const char *dest, uint32_t protocol, uint64_t *ret_cookie)
{
	struct bpf_sk_lookup context = {
		.family = packet_is_v6(dest) ? AF_INET6 : AF_INET, .protocol = protocol, .local_port = 80, .remote_port = htons(40000)
	};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &context, .ctx_size_in = sizeof(context), .ctx_out = &context,
	            .ctx_size_out = sizeof(context));

	if (packet_is_v6(dest))
		assert_int_equal(inet_pton(AF_INET6, dest, context.local_ip6), 1);
	else
		assert_int_equal(inet_pton(AF_INET, dest, &context.local_ip4), 1);
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(steer->progs.steer), &opts), 0);
	*ret_cookie = context.cookie;
	return (int)opts.retval;
}

static uint64_t cookie_of(int worker, bool is_v6)
{
	uint64_t cookie = 0;
	socklen_t size = sizeof(cookie);

	assert_int_equal(getsockopt(listeners[worker][is_v6], SOL_SOCKET, SO_COOKIE, &cookie, &size), 0);
	return cookie;
}

static void expect_worker(const char *dest, int worker)
{
	uint64_t cookie;

	assert_int_equal(ask(dest, IPPROTO_TCP, &cookie), SK_PASS);
	assert_true(cookie == cookie_of(worker, packet_is_v6(dest)));
}

static void the_home_of_the_peer_gets_it(void **state)
{
	(void)state;
	expect_worker("10.2.0.5", 3);
	expect_worker("fd02::5", 3);
	expect_worker("192.168.0.2", 3);
	fixture_set_net(&f, "10.2.7.0", 24, (struct net_value){ .kind = NET_POD, .peer = OTHER_PEER, .worker = 2 });
	expect_worker("10.2.7.5", 2);
	fixture_remove_net(&f, "10.2.7.0", 24);
}

static void an_address_of_nobody_goes_to_any(void **state)
{
	(void)state;
	expect_worker("8.8.8.8", 0);
	expect_worker("2001:db8::1", 0);
}

static void another_takes_over_from_one_that_is_gone(void **state)
{
	(void)state;
	close_listener(3, false);
	expect_worker("10.2.0.5", 0);
	expect_worker("fd02::5", 3);
	close_listener(0, false);
	expect_worker("10.2.0.5", 1);
}

static void without_any_it_is_dropped_in_silence(void **state)
{
	uint64_t cookie;

	(void)state;
	for (int worker = 0; worker < 4; worker++)
		close_listener(worker, false);
	assert_int_equal(ask("10.2.0.5", IPPROTO_TCP, &cookie), SK_DROP);
	assert_true(cookie == 0);
	expect_worker("fd02::5", 3);
}

static void a_worker_out_of_range_is_not_asked(void **state)
{
	(void)state;
	fixture_set_net(&f, "10.2.8.0", 24, (struct net_value){ .kind = NET_POD, .peer = OTHER_PEER, .worker = 60000 });
	expect_worker("10.2.8.5", 0);
	fixture_remove_net(&f, "10.2.8.0", 24);
}

/* Of a client whose address context leaves at 0.0.0.0 or ::, port 40000. */
static struct flow_key flow_to(const char *dest)
{
	return fixture_flow(packet_is_v6(dest) ? "::" : "0.0.0.0", 40000, dest, 80);
}

static void record(const char *dest, uint16_t worker)
{
	struct flow_key key = flow_to(dest);
	struct flow_value value = { .since_ns = 1, .worker = worker };

	assert_int_equal(bpf_map_update_elem(bpf_map__fd(f.edge->maps.flows), &key, &value, BPF_ANY), 0);
}

static void the_worker_that_the_flow_is_recorded_with_gets_it(void **state)
{
	(void)state;
	record("10.2.0.5", 1);
	record("fd02::5", 2);
	expect_worker("10.2.0.5", 1);
	expect_worker("fd02::5", 2);
	expect_worker("10.2.0.6", 3); /* another flow */
	fixture_reset(&f);
	expect_worker("10.2.0.5", 3);
}

/* Of an earlier daemon that had more workers, or one that has ended. */
static void a_recorded_worker_without_a_listener_leaves_it_to_the_home(void **state)
{
	(void)state;
	record("10.2.0.5", 7);
	expect_worker("10.2.0.5", 3);
	record("10.2.0.5", 60000);
	expect_worker("10.2.0.5", 3);
	close_listener(1, false);
	record("10.2.0.5", 1);
	expect_worker("10.2.0.5", 3);
	close_listener(3, false);
	expect_worker("10.2.0.5", 0);
	fixture_reset(&f);
}

static void udp_is_not_ours(void **state)
{
	uint64_t cookie;

	(void)state;
	assert_int_equal(ask("10.2.0.5", IPPROTO_UDP, &cookie), SK_PASS);
	assert_true(cookie == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_home_of_the_peer_gets_it, start, stop),
		cmocka_unit_test_setup_teardown(an_address_of_nobody_goes_to_any, start, stop),
		cmocka_unit_test_setup_teardown(another_takes_over_from_one_that_is_gone, start, stop),
		cmocka_unit_test_setup_teardown(without_any_it_is_dropped_in_silence, start, stop),
		cmocka_unit_test_setup_teardown(a_worker_out_of_range_is_not_asked, start, stop),
		cmocka_unit_test_setup_teardown(the_worker_that_the_flow_is_recorded_with_gets_it, start, stop),
		cmocka_unit_test_setup_teardown(a_recorded_worker_without_a_listener_leaves_it_to_the_home, start, stop),
		cmocka_unit_test_setup_teardown(udp_is_not_ours, start, stop),
	};
	int result = fixture_load(&f);

	if (result)
		return result;
	result = cmocka_run_group_tests(tests, NULL, NULL);
	fixture_done(&f);
	return result;
}
