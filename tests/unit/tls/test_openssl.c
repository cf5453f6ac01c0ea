/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Our sessions against another implementation: openssl s_client and s_server over a Unix socket. */
#include "tls/ca.h"
#include "tls/ctx.h"
#include "tls/tls.h"
#include "unit/pki.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { CAP = 1 << 16, ARGS_MAX = 48 };

static struct {
	pid_t pid;
	int in, out; /* the program's standard input and output */
	char output[CAP];
	size_t output_len;

	int fd;
	struct tls_session *session;
	uint8_t rx[2 * TLS_RECORD_MAX];
	size_t rx_len;
	char text[CAP]; /* what the program sent through TLS */
	size_t text_len;
	unsigned updates;     /* records without data that were opened */
	size_t longest;       /* the most data in one record */
	size_t control_bytes; /* what the session sent by itself */
	bool is_closed;       /* close_notify came */
	bool is_failed;
	bool is_to_damage; /* a bit of what comes next is turned over */
} peer;

/* Starts openssl with the words of args, at least mode and what must always be said. */
static void openssl_start(const char *const *args)
{
	const char *argv[ARGS_MAX] = { "openssl" };
	int in[2], out[2], n = 1;

	while (*args && n < ARGS_MAX - 1)
		argv[n++] = *args++;
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	peer.pid = fork();
	assert_true(peer.pid >= 0);
	if (peer.pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		dup2(out[1], 2);
		execvp("openssl", (char *const *)argv);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	peer.in = in[1];
	peer.out = out[0];
}

static int setup(void **state)
{
	(void)state;
	memset(&peer, 0, sizeof(peer));
	peer.in = peer.out = peer.fd = -1;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tls_session_destroy(peer.session);
	for (int i = 0; i < 3; i++) {
		int fd = (int[]){ peer.in, peer.out, peer.fd }[i];

		if (fd >= 0)
			close(fd);
	}
	if (peer.pid > 0) {
		kill(peer.pid, SIGKILL);
		waitpid(peer.pid, NULL, 0);
	}
	return 0;
}

static void take_output(void)
{
	ssize_t n = read(peer.out, peer.output + peer.output_len, CAP - 1 - peer.output_len);

	if (n <= 0) {
		close(peer.out);
		peer.out = -1;
		return;
	}
	peer.output_len += (size_t)n;
	peer.output[peer.output_len] = '\0';
}

static void send_bytes(const uint8_t *bytes, size_t len)
{
	while (len) {
		ssize_t n = send(peer.fd, bytes, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN) {
			struct pollfd p = { .fd = peer.fd, .events = POLLOUT };

			poll(&p, 1, -1);
			continue;
		}
		assert_true(n > 0);
		bytes += n;
		len -= (size_t)n;
	}
}

static void send_control(void)
{
	uint8_t control[TLS_CONTROL_MAX];
	size_t n = tls_take_control(peer.session, control, sizeof(control));

	peer.control_bytes += n;
	send_bytes(control, n);
}

static void send_text(const char *text)
{
	uint8_t record[TLS_HEAD_BYTES + 256 + TLS_TAIL_BYTES];
	size_t len = strlen(text);

	memcpy(record + TLS_HEAD_BYTES, text, len);
	assert_int_equal(tls_seal(peer.session, record, len), TLS_OK);
	send_control();
	send_bytes(record, TLS_HEAD_BYTES + len + TLS_TAIL_BYTES);
}

static void type(const char *text)
{
	assert_int_equal(write(peer.in, text, strlen(text)), strlen(text));
}

static void take_records(void)
{
	size_t used, len;
	uint8_t *plain;
	ssize_t n = recv(peer.fd, peer.rx + peer.rx_len, sizeof(peer.rx) - peer.rx_len, 0);

	if (n <= 0) {
		peer.is_failed = !peer.is_closed;
		close(peer.fd);
		peer.fd = -1;
		return;
	}
	peer.rx_len += (size_t)n;
	if (peer.is_to_damage)
		peer.rx[peer.rx_len - 1] ^= 1;
	for (;;) {
		enum tls_result r = tls_open(peer.session, peer.rx, peer.rx_len, &used, &plain, &len);

		if (r == TLS_WANT_READ)
			return;
		if (r != TLS_OK) {
			peer.is_closed = r == TLS_PEER_CLOSED;
			peer.is_failed = r == TLS_FAILED;
			return;
		}
		send_control();
		peer.updates += len == 0;
		peer.longest = len > peer.longest ? len : peer.longest;
		memcpy(peer.text + peer.text_len, plain, len);
		peer.text_len += len;
		peer.text[peer.text_len] = '\0';
		memmove(peer.rx, peer.rx + used, peer.rx_len - used);
		peer.rx_len -= used;
	}
}

/* Waits for one of both sides to say something; ends the test where both have ended. */
static void turn(bool with_session)
{
	struct pollfd p[2] = { { .fd = peer.out, .events = POLLIN }, { .fd = with_session ? peer.fd : -1, .events = POLLIN } };

	if (p[0].fd < 0 && p[1].fd < 0)
		fail_msg("openssl ended early: %s", peer.output);
	assert_true(poll(p, 2, -1) > 0 || errno == EINTR);
	if (p[0].revents)
		take_output();
	if (p[1].revents)
		take_records();
}

static void expect_text(const char *wanted)
{
	while (!strstr(peer.text, wanted)) {
		if (peer.is_failed)
			fail_msg("%s; openssl: %s", tls_session_error(peer.session), peer.output);
		turn(true);
	}
}

static void expect_output(const char *wanted)
{
	while (!strstr(peer.output, wanted)) {
		if (peer.is_failed)
			fail_msg("%s; openssl: %s", tls_session_error(peer.session), peer.output);
		turn(true);
	}
}

static enum tls_result shake(void)
{
	for (;;) {
		enum tls_result r = tls_handshake(peer.session);
		struct pollfd p[2] = { { .fd = peer.fd, .events = r == TLS_WANT_WRITE ? POLLOUT : POLLIN },
			               { .fd = peer.out, .events = POLLIN } };

		if (r != TLS_WANT_READ && r != TLS_WANT_WRITE)
			return r;
		assert_true(poll(p, 2, -1) > 0);
		if (p[1].revents)
			take_output();
	}
}

static struct sockaddr_un address(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/socket", pki_get()->dir);
	return a;
}

static char cert_path[160], key_path[160], ca_path[160], other_ca_path[160];

/* What every call of openssl says; the file names are node1's. */
#define IDENTITY "-cert", cert_path, "-key", key_path
#define COMMON   "-CAfile", ca_path, "-verify_return_error"

static void paths(void)
{
	snprintf(cert_path, sizeof(cert_path), "%s/tls.crt", pki_get()->nodes[0].dir);
	snprintf(key_path, sizeof(key_path), "%s/tls.key", pki_get()->nodes[0].dir);
	snprintf(ca_path, sizeof(ca_path), "%s/ca.crt", pki_get()->nodes[0].dir);
	snprintf(other_ca_path, sizeof(other_ca_path), "%s/other/ca.crt", pki_get()->dir);
}

/* openssl is the client, we are node2. */
static enum tls_result meet_client(const char *const *options)
{
	const char *args[ARGS_MAX] = { "s_client", "-unix" };
	struct sockaddr_un a = address();
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), n = 2;

	paths();
	args[n++] = a.sun_path;
	while (*options)
		args[n++] = *options++;
	unlink(a.sun_path);
	assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(listener, 1), 0);
	openssl_start(args);
	while (peer.fd < 0) {
		struct pollfd p[2] = { { .fd = listener, .events = POLLIN }, { .fd = peer.out, .events = POLLIN } };

		if (peer.out < 0)
			fail_msg("openssl ended early: %s", peer.output);
		assert_true(poll(p, 2, -1) > 0);
		if (p[1].revents)
			take_output();
		if (p[0].revents)
			peer.fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	}
	close(listener);
	assert_int_equal(tls_session_create(pki_get()->nodes[1].ctx, peer.fd, TLS_SERVER, &peer.session), 0);
	return shake();
}

static enum tls_result meet_server(const char *const *options)
{
	const char *args[ARGS_MAX] = { "s_server", "-unlink", "-naccept", "1", "-unix" };
	struct sockaddr_un a = address();
	int n = 5;

	paths();
	args[n++] = a.sun_path;
	while (*options)
		args[n++] = *options++;
	unlink(a.sun_path);
	openssl_start(args);
	peer.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	/* Where it is to be quiet it does not say when it listens. */
	while (connect(peer.fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
		struct pollfd p = { .fd = peer.out, .events = POLLIN };

		assert_true(errno == ENOENT || errno == ECONNREFUSED);
		if (peer.out < 0)
			fail_msg("openssl ended early: %s", peer.output);
		if (poll(&p, 1, 10) > 0)
			take_output();
	}
	assert_int_equal(tls_session_create(pki_get()->nodes[1].ctx, peer.fd, TLS_CLIENT, &peer.session), 0);
	return shake();
}

static void expect_open(enum tls_result r)
{
	if (r != TLS_OK)
		fail_msg("%s; openssl: %s", tls_session_error(peer.session), peer.output);
	assert_string_equal(tls_session_peer(peer.session)->names[0].text, pki_get()->nodes[0].name.text);
}

/* Data and key updates both ways, then an orderly end, by openssl where it can: s_server's own command for it cuts the connection. */
static void converse(bool is_server)
{
	unsigned updates;
	size_t control_bytes;

	type("hello from openssl\n");
	expect_text("hello from openssl\n");
	send_text("hello from culvert\n");
	expect_output("hello from culvert\n");

	/* openssl renews its keys and asks for ours. */
	updates = peer.updates;
	control_bytes = peer.control_bytes;
	type("K\n");
	while (peer.updates == updates)
		turn(true);
	assert_true(peer.control_bytes > control_bytes);
	type("with new keys of openssl\n");
	expect_text("with new keys of openssl\n");
	send_text("the answer with new keys\n");
	expect_output("the answer with new keys\n");

	/* The same without asking: no answer goes out. */
	updates = peer.updates;
	control_bytes = peer.control_bytes;
	type("k\n");
	while (peer.updates == updates)
		turn(true);
	assert_int_equal(peer.control_bytes, control_bytes);

	/* We renew ours and ask. openssl answers before its next data. */
	updates = peer.updates;
	assert_int_equal(tls_update_keys(peer.session), TLS_OK);
	send_control();
	send_text("with new keys of culvert\n");
	expect_output("with new keys of culvert\n");
	type("openssl answers\n");
	expect_text("openssl answers\n");
	assert_true(peer.updates > updates);

	if (is_server) {
		tls_close_notify(peer.session);
		send_control();
	} else {
		type("Q\n");
	}
	while (!peer.is_closed && !peer.is_failed)
		turn(true);
	if (!peer.is_closed)
		fail_msg("%s; openssl: %s", tls_session_error(peer.session), peer.output);
}

static void expect_fault(enum tls_result r, const char *sentence)
{
	assert_true(r == TLS_FAILED || r == TLS_PEER_CLOSED);
	if (!strstr(tls_session_error(peer.session), sentence))
		fail_msg("\"%s\" does not say \"%s\"; openssl: %s", tls_session_error(peer.session), sentence, peer.output);
}

#define OPTIONS(...) \
	(const char *const[]) \
	{ \
		__VA_ARGS__, NULL \
	}

static void test_client(void **state)
{
	(void)state;
	expect_open(meet_client(OPTIONS(IDENTITY, COMMON, "-alpn", "culvert/1")));
	assert_string_equal(tls_session_info(peer.session).group, "X25519");
	assert_string_equal(tls_session_info(peer.session).cipher, "TLS_AES_128_GCM_SHA256");
	converse(false);
	expect_output("Verification: OK");
	expect_output("ALPN protocol: culvert/1");
}

static void test_client_with_other_choices(void **state)
{
	(void)state;
	expect_open(meet_client(OPTIONS(IDENTITY, COMMON, "-alpn", "h2,culvert/1", "-groups", "P-384:P-256", "-ciphersuites",
	                                "TLS_CHACHA20_POLY1305_SHA256")));
	assert_string_equal(tls_session_info(peer.session).group, "SECP256R1");
	assert_string_equal(tls_session_info(peer.session).cipher, "TLS_CHACHA20_POLY1305_SHA256");
	converse(false);
}

static void test_server(void **state)
{
	(void)state;
	expect_open(meet_server(OPTIONS(IDENTITY, COMMON, "-Verify", "2", "-alpn", "culvert/1")));
	/* It has no hybrid group, so it asks for a second hello. */
	assert_string_equal(tls_session_info(peer.session).group, "X25519");
	converse(true);
	/* Its two tickets came and were ignored. */
	assert_true(peer.updates >= 2 + 3);
}

static void test_server_with_other_choices(void **state)
{
	(void)state;
	expect_open(meet_server(OPTIONS(IDENTITY, COMMON, "-Verify", "2", "-alpn", "culvert/1", "-groups", "P-256", "-ciphersuites",
	                                "TLS_AES_256_GCM_SHA384", "-num_tickets", "0")));
	assert_string_equal(tls_session_info(peer.session).group, "SECP256R1");
	assert_string_equal(tls_session_info(peer.session).cipher, "TLS_AES_256_GCM_SHA384");
	converse(true);
}

/* --- all suites, in both roles --- */

static const char *const suites[] = { "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256" };

static enum tls_result meet(bool is_server, const char *suite, bool is_quiet)
{
	const char *args[ARGS_MAX] = { IDENTITY, COMMON, "-alpn", "culvert/1", "-ciphersuites", suite };
	size_t n = 0;

	while (args[n])
		n++;
	if (is_server) {
		args[n++] = "-Verify";
		args[n++] = "2";
	}
	/* Then nothing but what is carried is written, and no line is a command. */
	if (is_quiet)
		args[n++] = "-quiet";
	return is_server ? meet_server(args) : meet_client(args);
}

static void test_every_suite_converses(void **state)
{
	for (size_t i = 0; i < 2 * sizeof(suites) / sizeof(suites[0]); i++) {
		expect_open(meet(i % 2, suites[i / 2], false));
		assert_string_equal(tls_session_info(peer.session).cipher, suites[i / 2]);
		converse(i % 2);
		teardown(state);
		setup(state);
	}
}

static uint8_t pattern(size_t size, size_t i)
{
	return (uint8_t)(size * 7 + i * 3 + (i >> 8));
}

/* One record of ours to openssl, which writes out what was in it. */
static void carry_out(size_t size)
{
	static uint8_t record[TLS_HEAD_BYTES + TLS_PLAIN_MAX + TLS_TAIL_BYTES], found[TLS_PLAIN_MAX];
	size_t len = 0;

	for (size_t i = 0; i < size; i++)
		record[TLS_HEAD_BYTES + i] = pattern(size, i);
	assert_int_equal(tls_seal(peer.session, record, size), TLS_OK);
	send_control();
	send_bytes(record, TLS_HEAD_BYTES + size + TLS_TAIL_BYTES);
	while (len < size) {
		ssize_t n = read(peer.out, found + len, size - len);

		assert_true(n > 0);
		len += (size_t)n;
	}
	for (size_t i = 0; i < size; i++) {
		if (found[i] != pattern(size, i))
			fail_msg("%zu bytes: byte %zu is wrong", size, i);
	}
}

/* As many bytes into openssl by one write, from which s_server makes one record, and s_client one of each 8 KB. */
static void carry_in(size_t size)
{
	static char text[16384];

	for (size_t i = 0; i < size; i++)
		text[i] = (char)pattern(size, i);
	peer.text_len = 0;
	assert_int_equal(write(peer.in, text, size), size);
	while (peer.text_len < size) {
		struct pollfd p = { .fd = peer.fd, .events = POLLIN };

		assert_true(poll(&p, 1, -1) == 1);
		take_records();
		if (peer.is_failed || peer.is_closed)
			fail_msg("%zu bytes: %s", size, tls_session_error(peer.session));
	}
	assert_int_equal(peer.text_len, size);
	assert_memory_equal(peer.text, text, size);
}

/* Every size where step is 1. With new keys on the way. */
static void carry_sizes(bool is_server, size_t step)
{
	size_t records = 0;

	/* What openssl says of the certificate comes before it. */
	send_text("from here on\n");
	expect_output("from here on\n");
	assert_string_equal(strstr(peer.output, "from here on\n"), "from here on\n");
	peer.longest = 0;
	for (size_t size = 1; size <= 16384; size = size + step <= 16384 || size == 16384 ? size + step : 16384) {
		carry_out(size <= TLS_PLAIN_MAX ? size : TLS_PLAIN_MAX);
		carry_in(size);
		if (++records % 200 == 0) {
			assert_int_equal(tls_update_keys(peer.session), TLS_OK);
			send_control();
		}
	}
	assert_int_equal(peer.longest, is_server ? 16384 : 8192);
	assert_true(peer.updates > 0);
}

static void test_records_of_every_size(void **state)
{
	(void)state;
	expect_open(meet(true, suites[0], true));
	carry_sizes(true, 1);
}

static void test_records_of_many_sizes_by_every_suite(void **state)
{
	for (size_t i = 0; i < 2 * sizeof(suites) / sizeof(suites[0]); i++) {
		expect_open(meet(i % 2, suites[i / 2], true));
		carry_sizes(i % 2, 61);
		teardown(state);
		setup(state);
	}
}

/* One turns a bit over and the other says so: both ends name it. */
static void test_damaged_records(void **state)
{
	for (size_t i = 0; i < 2 * sizeof(suites) / sizeof(suites[0]); i++) {
		uint8_t record[TLS_HEAD_BYTES + 100 + TLS_TAIL_BYTES];

		expect_open(meet(i % 2, suites[i / 2], false));
		memset(record, 'x', sizeof(record));
		assert_int_equal(tls_seal(peer.session, record, 100), TLS_OK);
		record[TLS_HEAD_BYTES + 50] ^= 1;
		send_bytes(record, sizeof(record));
		while (!peer.is_failed)
			turn(true);
		assert_non_null(strstr(tls_session_error(peer.session), "bad_record_mac"));
		teardown(state);
		setup(state);

		expect_open(meet(i % 2, suites[i / 2], false));
		type("hello\n");
		expect_text("hello\n");
		peer.is_to_damage = true;
		type("damaged\n");
		while (!peer.is_failed)
			turn(true);
		assert_string_equal(tls_session_error(peer.session), "a record was forged or damaged on its way");
		send_control();
		while (!strstr(peer.output, "alert number 20"))
			turn(false);
		teardown(state);
		setup(state);
	}
}

static void test_our_close_notify(void **state)
{
	int status;

	(void)state;
	expect_open(meet_client(OPTIONS(IDENTITY, COMMON, "-alpn", "culvert/1")));
	send_text("the last words\n");
	tls_close_notify(peer.session);
	send_control();
	while (peer.out >= 0)
		turn(false);
	expect_output("the last words\n");
	/* s_client ends with 0 where the other side closed in order. */
	assert_int_equal(waitpid(peer.pid, &status, 0), peer.pid);
	peer.pid = 0;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_client_of_an_older_tls(void **state)
{
	(void)state;
	expect_fault(meet_client(OPTIONS(IDENTITY, COMMON, "-alpn", "culvert/1", "-tls1_2")),
	             "has no version of TLS in common with us, TLS 1.3 is needed");
}

static void test_client_without_a_group(void **state)
{
	(void)state;
	expect_fault(meet_client(OPTIONS(IDENTITY, COMMON, "-alpn", "culvert/1", "-groups", "P-521")),
	             "has no key exchange group in common with us");
}

static void test_client_without_a_certificate(void **state)
{
	(void)state;
	expect_fault(meet_client(OPTIONS(COMMON, "-alpn", "culvert/1")), "the other side showed no certificate, mutual TLS needs one");
}

static void test_client_without_alpn(void **state)
{
	(void)state;
	expect_fault(meet_client(OPTIONS(IDENTITY, COMMON)), "did not name the application protocol culvert/1");
}

static void test_client_of_another_protocol(void **state)
{
	(void)state;
	expect_fault(meet_client(OPTIONS(IDENTITY, COMMON, "-alpn", "h2,http/1.1")), "speaks another application protocol than culvert/1");
	while (peer.out >= 0)
		turn(false);
	expect_output("alert number 120");
}

static void test_client_that_refuses_us(void **state)
{
	(void)state;
	/* wolfSSL 5.7 does not take an alert that is not encrypted yet. */
	if (!TLS_HAS_HYBRID)
		skip();
	expect_fault(meet_client(OPTIONS(IDENTITY, "-CAfile", other_ca_path, "-verify_return_error", "-alpn", "culvert/1")),
	             "the other node refused our certificate (alert unknown_ca)");
}

static void test_server_of_an_older_tls(void **state)
{
	(void)state;
	expect_fault(meet_server(OPTIONS(IDENTITY, COMMON, "-Verify", "2", "-alpn", "culvert/1", "-tls1_2")),
	             "the other node has no version of TLS in common with us (alert protocol_version)");
}

static void test_server_without_a_group(void **state)
{
	(void)state;
	expect_fault(meet_server(OPTIONS(IDENTITY, COMMON, "-Verify", "2", "-alpn", "culvert/1", "-groups", "P-521")),
	             "the other node refused the handshake (alert handshake_failure): no common cipher suite or key exchange group");
}

static void test_server_without_alpn(void **state)
{
	(void)state;
	expect_fault(meet_server(OPTIONS(IDENTITY, COMMON, "-Verify", "2")), "did not name the application protocol culvert/1");
}

static void test_server_of_another_protocol(void **state)
{
	(void)state;
	expect_fault(meet_server(OPTIONS(IDENTITY, COMMON, "-Verify", "2", "-alpn", "h2")),
	             "the other node does not speak the application protocol culvert/1 (alert no_application_protocol)");
}

static void test_server_that_refuses_us(void **state)
{
	(void)state;
	/* In TLS 1.3 a client learns it only afterwards. */
	expect_open(meet_server(OPTIONS(IDENTITY, "-CAfile", other_ca_path, "-verify_return_error", "-Verify", "2", "-alpn", "culvert/1")));
	while (!peer.is_failed)
		turn(true);
	assert_string_equal(tls_session_error(peer.session), "the other node refused our certificate (alert unknown_ca); its log says why");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_client, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_with_other_choices, setup, teardown),
		cmocka_unit_test_setup_teardown(test_server, setup, teardown),
		cmocka_unit_test_setup_teardown(test_server_with_other_choices, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_suite_converses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_records_of_every_size, setup, teardown),
		cmocka_unit_test_setup_teardown(test_records_of_many_sizes_by_every_suite, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged_records, setup, teardown),
		cmocka_unit_test_setup_teardown(test_our_close_notify, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_of_an_older_tls, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_without_a_group, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_without_a_certificate, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_without_alpn, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_of_another_protocol, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_that_refuses_us, setup, teardown),
		cmocka_unit_test_setup_teardown(test_server_of_an_older_tls, setup, teardown),
		cmocka_unit_test_setup_teardown(test_server_without_a_group, setup, teardown),
		cmocka_unit_test_setup_teardown(test_server_without_alpn, setup, teardown),
		cmocka_unit_test_setup_teardown(test_server_of_another_protocol, setup, teardown),
		cmocka_unit_test_setup_teardown(test_server_that_refuses_us, setup, teardown),
	};
	char dir[160], error[CA_ERROR_BYTES];

	if (system("openssl version > /dev/null 2>&1")) {
		fprintf(stderr, "skipped: the program openssl is not installed\n");
		return 77;
	}
	snprintf(dir, sizeof(dir), "%s/other", pki_get()->dir);
	if (ca_init(dir, "Another CA", 0, error)) {
		fprintf(stderr, "%s\n", error);
		return 1;
	}
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
