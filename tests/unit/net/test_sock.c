/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* A limit on waits that never come to an end; no test measures by it. */
enum { PATIENCE_MS = 10000 };

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

static struct endpoint loopback_of(int listen_fd, const char *text)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct endpoint e;

	assert_int_equal(getsockname(listen_fd, (struct sockaddr *)&sa, &len), 0);
	assert_int_equal(endpoint_from_sockaddr((struct sockaddr *)&sa, len, &e), 0);
	assert_int_equal(addr_parse(text, &e.addr), 0);
	return e;
}

static void wait_for(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
}

static bool has_ipv6(void)
{
	struct sockaddr_in6 sa = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	bool is_there = fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0;

	if (fd >= 0)
		(void)close(fd);
	return is_there;
}

static bool is_nonblocking_and_cloexec(int fd)
{
	return (fcntl(fd, F_GETFL) & O_NONBLOCK) && (fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static bool resets_on_close(int fd)
{
	struct linger linger = { 0 };
	socklen_t len = sizeof(linger);

	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &len), 0);
	return linger.l_onoff && linger.l_linger == 0;
}

/* Connects from source (or NULL) to the listener by the loopback address text, and accepts. */
static void join(int listen_fd, const struct endpoint *source, const char *text, int *ret_client, int *ret_server)
{
	struct endpoint dst = loopback_of(listen_fd, text), peer, local, client_side;
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	bool is_pending;
	int client = sock_connect(source, &dst, &is_pending), server;

	assert_true(client >= 0);
	wait_for(client, POLLOUT);
	assert_int_equal(sock_error(client), 0);
	wait_for(listen_fd, POLLIN);
	server = sock_accept(listen_fd, &peer, &local);
	assert_true(server >= 0);
	assert_true(endpoint_equal(&local, &dst));
	assert_int_equal(getsockname(client, (struct sockaddr *)&sa, &len), 0);
	assert_int_equal(endpoint_from_sockaddr((struct sockaddr *)&sa, len, &client_side), 0);
	assert_true(endpoint_equal(&peer, &client_side));
	assert_true(is_nonblocking_and_cloexec(client));
	assert_true(is_nonblocking_and_cloexec(server));
	*ret_client = client;
	*ret_server = server;
}

static void a_tunnel_listener_serves_both_families(void **state)
{
	int listen_fd = sock_listen_tunnel(0, 16), client, server;

	(void)state;
	assert_true(listen_fd >= 0);
	assert_true(is_nonblocking_and_cloexec(listen_fd));
	assert_int_equal(sock_accept(listen_fd, NULL, NULL), -EAGAIN);
	join(listen_fd, NULL, "127.0.0.1", &client, &server);
	assert_int_equal(close(client), 0);
	assert_int_equal(close(server), 0);
	if (has_ipv6()) {
		join(listen_fd, NULL, "::1", &client, &server);
		assert_int_equal(close(client), 0);
		assert_int_equal(close(server), 0);
	}
	assert_int_equal(close(listen_fd), 0);
}

static void a_taken_port_is_told(void **state)
{
	int first = sock_listen_tunnel(0, 16);
	struct endpoint e = loopback_of(first, "127.0.0.1");

	(void)state;
	assert_int_equal(sock_listen_tunnel(e.port, 16), -EADDRINUSE);
	assert_int_equal(close(first), 0);
}

static void a_connection_has_the_source_that_was_asked_for(void **state)
{
	int listen_fd = sock_listen_tunnel(0, 16), client, server;
	struct endpoint source = { .port = 0 };

	(void)state;
	assert_int_equal(addr_parse("127.0.0.77", &source.addr), 0);
	join(listen_fd, &source, "127.0.0.1", &client, &server);
	source = loopback_of(client, "127.0.0.77");
	assert_int_equal(close(client), 0);
	assert_int_equal(close(server), 0);
	assert_true(source.port > 0);
	assert_int_equal(addr_parse("::1", &source.addr), 0);
	assert_int_equal(sock_connect(&source, &(struct endpoint){ .addr = addr_from_v4_be(htonl(INADDR_LOOPBACK)), .port = 1 },
	                              &(bool){ false }),
	                 -EINVAL);
	assert_int_equal(close(listen_fd), 0);
}

static void a_refused_connection_is_told(void **state)
{
	int listen_fd = sock_listen_tunnel(0, 16), fd;
	struct endpoint dst = loopback_of(listen_fd, "127.0.0.1");
	bool is_pending = false;

	(void)state;
	assert_int_equal(close(listen_fd), 0);
	fd = sock_connect(NULL, &dst, &is_pending);
	if (fd < 0) {
		assert_int_equal(fd, -ECONNREFUSED);
		return;
	}
	wait_for(fd, POLLOUT);
	assert_int_equal(sock_error(fd), ECONNREFUSED);
	assert_int_equal(sock_error(fd), 0);
	assert_int_equal(close(fd), 0);
}

/* A node may keep a congestion control for those with CAP_NET_ADMIN, which the daemon has and a test need not have. */
static bool may_choose_congestion_control(void)
{
	const char *name = sock_congestion_control();
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	bool may = setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) == 0;

	assert_int_equal(close(fd), 0);
	return may;
}

static void accepted_and_connected_sockets_have_our_options(void **state)
{
	int listen_fd = sock_listen_tunnel(0, 16), client, server;
	char name[16] = "";
	socklen_t len = sizeof(name);

	(void)state;
	join(listen_fd, NULL, "127.0.0.1", &client, &server);
	for (int i = 0; i < 2; i++) {
		int fd = i == 0 ? client : server;

		len = sizeof(name);
		assert_true(option(fd, IPPROTO_TCP, TCP_NODELAY));
		assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len), 0);
		if (may_choose_congestion_control())
			assert_string_equal(name, sock_congestion_control());
	}
	assert_true(strcmp(sock_congestion_control(), "cubic") == 0 || strcmp(sock_congestion_control(), "reno") == 0);
	assert_ptr_equal(sock_congestion_control(), sock_congestion_control());
	sock_tune_tunnel(client, 12345);
	assert_int_equal(option(client, IPPROTO_TCP, TCP_USER_TIMEOUT), 12345);
	assert_int_equal(option(client, SOL_SOCKET, SO_KEEPALIVE), 0);
	sock_keep_alive(client, 12345);
	assert_int_equal(option(client, SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(option(client, IPPROTO_TCP, TCP_KEEPIDLE), 30);
	assert_int_equal(option(client, IPPROTO_TCP, TCP_USER_TIMEOUT), 42345);
	assert_false(sock_tune_long_tunnel(client));
	assert_int_equal(option(client, SOL_SOCKET, SO_RCVBUF), option(server, SOL_SOCKET, SO_RCVBUF));
	assert_int_equal(close(client), 0);
	assert_int_equal(close(server), 0);
	assert_int_equal(close(listen_fd), 0);
}

static void a_reset_on_close_is_a_reset_and_an_orderly_end_is_none(void **state)
{
	int listen_fd = sock_listen_tunnel(0, 16), client, server;
	char byte;

	(void)state;
	join(listen_fd, NULL, "127.0.0.1", &client, &server);
	assert_false(resets_on_close(server));
	sock_set_reset_on_close(server, true);
	assert_true(resets_on_close(server));
	assert_int_equal(close(server), 0);
	wait_for(client, POLLIN);
	assert_int_equal(read(client, &byte, 1), -1);
	assert_int_equal(errno, ECONNRESET);
	assert_int_equal(close(client), 0);

	join(listen_fd, NULL, "127.0.0.1", &client, &server);
	sock_set_reset_on_close(server, true);
	sock_set_reset_on_close(server, false);
	assert_int_equal(close(server), 0);
	wait_for(client, POLLIN);
	assert_int_equal(read(client, &byte, 1), 0);
	assert_int_equal(close(client), 0);
	assert_int_equal(close(listen_fd), 0);
}

static void unacknowledged_bytes_are_counted(void **state)
{
	int listen_fd = sock_listen_tunnel(0, 16), client, server, pipes[2];
	char bytes[4096] = { 0 };
	ssize_t written = 0, more;

	(void)state;
	join(listen_fd, NULL, "127.0.0.1", &client, &server);
	assert_int_equal(sock_unacked_bytes(client), 0);
	/* Until both sides' buffers are full: the last bytes can not be acknowledged, because nobody reads. */
	while ((more = write(client, bytes, sizeof(bytes))) > 0)
		written += more;
	assert_int_equal(errno, EAGAIN);
	assert_in_range(sock_unacked_bytes(client), 1, written);
	assert_int_equal(pipe(pipes), 0);
	assert_true(sock_unacked_bytes(pipes[0]) < 0);
	assert_int_equal(close(pipes[0]), 0);
	assert_int_equal(close(pipes[1]), 0);
	assert_int_equal(close(client), 0);
	assert_int_equal(close(server), 0);
	assert_int_equal(close(listen_fd), 0);
}

static void no_descriptors_left_is_told_and_nothing_is_lost(void **state)
{
	int listen_fd = sock_listen_tunnel(0, 16), client, server;
	struct endpoint dst = loopback_of(listen_fd, "127.0.0.1");
	struct rlimit before, none;
	bool is_pending;

	(void)state;
	client = sock_connect(NULL, &dst, &is_pending);
	assert_true(client >= 0);
	wait_for(listen_fd, POLLIN);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	server = sock_accept(listen_fd, NULL, NULL);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(server, -EMFILE);
	server = sock_accept(listen_fd, NULL, NULL);
	assert_true(server >= 0);
	assert_int_equal(close(server), 0);
	assert_int_equal(close(client), 0);
	assert_int_equal(close(listen_fd), 0);
}

/* Only who may: without CAP_NET_ADMIN the kernel's refusal is what comes back. */
static void a_transparent_listener_hands_its_options_on(void **state)
{
	int listen_fd = sock_listen_transparent(AF_INET, 16), client, server;
	struct endpoint dst;

	(void)state;
	if (listen_fd == -EPERM)
		skip();
	assert_true(listen_fd >= 0);
	dst = loopback_of(listen_fd, "127.0.0.1");
	assert_true(dst.port > 0);
	assert_true(option(listen_fd, IPPROTO_IP, IP_TRANSPARENT));
	join(listen_fd, NULL, "127.0.0.1", &client, &server);
	assert_true(resets_on_close(server));
	assert_true(option(server, IPPROTO_TCP, TCP_NODELAY));
	assert_true(option(server, IPPROTO_IP, IP_TRANSPARENT));
	assert_int_equal(close(client), 0);
	assert_int_equal(close(server), 0);
	assert_int_equal(close(listen_fd), 0);
	if (has_ipv6()) {
		listen_fd = sock_listen_transparent(AF_INET6, 16);
		assert_true(listen_fd >= 0);
		assert_true(option(listen_fd, IPPROTO_IPV6, IPV6_V6ONLY));
		assert_true(option(listen_fd, IPPROTO_IPV6, 75 /* IPV6_TRANSPARENT */));
		assert_int_equal(close(listen_fd), 0);
	}
}

static void a_transparent_connection_resets_on_close(void **state)
{
	int listen_fd = sock_listen_tunnel(0, 16), client, server;
	struct endpoint dst = loopback_of(listen_fd, "127.0.0.1"), source = { .port = 0 }, peer;
	bool is_pending;

	(void)state;
	assert_int_equal(addr_parse("127.0.0.78", &source.addr), 0);
	client = sock_connect_transparent(&source, &dst, false, &is_pending);
	if (client == -EPERM) {
		assert_int_equal(close(listen_fd), 0);
		skip();
	}
	assert_true(client >= 0);
	assert_true(resets_on_close(client));
	assert_true(option(client, SOL_SOCKET, SO_REUSEADDR));
	wait_for(listen_fd, POLLIN);
	server = sock_accept(listen_fd, &peer, NULL);
	assert_true(server >= 0);
	assert_true(addr_equal(&peer.addr, &source.addr));
	assert_int_equal(addr_parse("::1", &source.addr), 0);
	assert_int_equal(sock_connect_transparent(&source, &dst, false, &is_pending), -EINVAL);
	assert_int_equal(close(client), 0);
	assert_int_equal(close(server), 0);
	assert_int_equal(close(listen_fd), 0);
}

static int connect_late(int listen_fd, const char *from, const char *to)
{
	struct endpoint dst = loopback_of(listen_fd, to), source = { .port = 0 };
	bool is_pending;
	int fd;

	assert_int_equal(addr_parse(from, &source.addr), 0);
	fd = sock_connect_transparent(&source, &dst, true, &is_pending);
	if (fd < 0)
		return fd;
	wait_for(fd, POLLOUT);
	assert_int_equal(sock_error(fd), 0);
	return fd;
}

/* One that is closed before its late ACK is never accepted: what is accepted first is the next. */
static void expect_late(int listen_fd, const char *from, const char *to)
{
	int client = -1, server = -1, closed;

	/* The kernel waits 200 ms; on a busy machine they may be over before we look. */
	for (int i = 0; i < 20 && server != -EAGAIN; i++) {
		closed = connect_late(listen_fd, from, to);
		if (closed == -EPERM) {
			assert_int_equal(close(listen_fd), 0);
			skip();
		}
		assert_true(closed >= 0);
		assert_int_equal(close(closed), 0);
		client = connect_late(listen_fd, from, to);
		assert_true(client >= 0);
		server = sock_accept(listen_fd, NULL, NULL);
		if (server >= 0) {
			assert_int_equal(close(server), 0);
			assert_int_equal(close(client), 0);
		}
	}
	assert_int_equal(server, -EAGAIN);
	sock_send_ack(client);
	wait_for(listen_fd, POLLIN);
	server = sock_accept(listen_fd, NULL, NULL);
	assert_true(server >= 0);
	assert_int_equal(send(client, "x", 1, 0), 1);
	wait_for(server, POLLIN);
	assert_int_equal(sock_accept(listen_fd, NULL, NULL), -EAGAIN);
	assert_int_equal(close(client), 0);
	assert_int_equal(close(server), 0);
}

static void a_listener_sees_nothing_before_the_late_ack(void **state)
{
	int listen_fd = sock_listen_tunnel(0, 64);

	(void)state;
	expect_late(listen_fd, "127.0.0.78", "127.0.0.1");
	expect_late(listen_fd, "::1", "::1");
	assert_int_equal(close(listen_fd), 0);
}

static void a_namespace_that_is_none_is_told(void **state)
{
	int pipes[2];

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	assert_true(sock_enter_netns(pipes[0]) < 0);
	assert_int_equal(sock_enter_netns(-1), -EBADF);
	assert_int_equal(close(pipes[0]), 0);
	assert_int_equal(close(pipes[1]), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tunnel_listener_serves_both_families),
		cmocka_unit_test(a_taken_port_is_told),
		cmocka_unit_test(a_connection_has_the_source_that_was_asked_for),
		cmocka_unit_test(a_refused_connection_is_told),
		cmocka_unit_test(accepted_and_connected_sockets_have_our_options),
		cmocka_unit_test(a_reset_on_close_is_a_reset_and_an_orderly_end_is_none),
		cmocka_unit_test(unacknowledged_bytes_are_counted),
		cmocka_unit_test(no_descriptors_left_is_told_and_nothing_is_lost),
		cmocka_unit_test(a_transparent_listener_hands_its_options_on),
		cmocka_unit_test(a_transparent_connection_resets_on_close),
		cmocka_unit_test(a_listener_sees_nothing_before_the_late_ack),
		cmocka_unit_test(a_namespace_that_is_none_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
