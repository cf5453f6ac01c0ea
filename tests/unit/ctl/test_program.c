/* SPDX-License-Identifier: GPL-3.0-or-later */
/* culvertctl as a whole: its command line, its exit status, and what it makes of a daemon that answers well, badly or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#ifndef CULVERT_VERSION
#define CULVERT_VERSION "test"
#endif
int culvertctl_main(int argc, char **argv);
#define main culvertctl_main
#include "ctl/authority.c"
#include "ctl/client.c"
#include "ctl/json.c"
#include "ctl/main.c"
#include "ctl/show.c"
#include "ctl/table.c"
#include "ctl/text.c"
#include "ctl/top.c"
#undef main

#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { ARGS_MAX = 16, OUTPUT_MAX = 65536, ANSWER_MAX = 4096 };

/* A daemon that takes connections one after the other and gives each the same bytes. */
struct fake {
	pthread_t thread;
	int listener;
	char dir[64], path[96];
	uint8_t answer[ANSWER_MAX];
	size_t answer_len;
	Culvert__Status__Request__WhatCase asked; /* the last question */
	char peer[300];
	uint32_t limit;
	int connections; /* read after the thread has ended */
};

static struct fake fake;
static char output[OUTPUT_MAX], errors[OUTPUT_MAX];

static void fake_note(struct fake *f, const uint8_t *bytes, size_t len)
{
	Culvert__Status__Request *pb = culvert__status__request__unpack(NULL, len, bytes);

	if (!pb)
		return;
	f->asked = pb->what_case;
	if (pb->what_case == CULVERT__STATUS__REQUEST__WHAT_STREAMS) {
		snprintf(f->peer, sizeof(f->peer), "%s", pb->streams->peer);
		f->limit = pb->streams->limit;
	} else if (pb->what_case == CULVERT__STATUS__REQUEST__WHAT_ENDED) {
		snprintf(f->peer, sizeof(f->peer), "%s", pb->ended->peer);
		f->limit = pb->ended->limit;
	} else if (pb->what_case == CULVERT__STATUS__REQUEST__WHAT_PEERS) {
		snprintf(f->peer, sizeof(f->peer), "%s", pb->peers->peer);
	}
	culvert__status__request__free_unpacked(pb, NULL);
}

static void *fake_run(void *ctx)
{
	struct fake *f = ctx;
	int fd;

	/* shutdown of the listener ends it. */
	while ((fd = accept(f->listener, NULL, NULL)) >= 0) {
		uint8_t bytes[1024];
		ssize_t n = recv(fd, bytes, sizeof(bytes), 0);

		f->connections++;
		if (n > 1)
			fake_note(f, bytes + 1, (size_t)n - 1);
		if (f->answer_len)
			(void)send(fd, f->answer, f->answer_len, MSG_NOSIGNAL);
		close(fd);
	}
	return NULL;
}

static int setup(void **state)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	(void)state;
	memset(&fake, 0, sizeof(fake));
	snprintf(fake.dir, sizeof(fake.dir), "/tmp/culvertctl-XXXXXX");
	assert_non_null(mkdtemp(fake.dir));
	snprintf(fake.path, sizeof(fake.path), "%s/s", fake.dir);
	strcpy(sa.sun_path, fake.path);
	fake.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fake.listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fake.listener, 8), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close(fake.listener);
	assert_int_equal(unlink(fake.path), 0);
	assert_int_equal(rmdir(fake.dir), 0);
	return 0;
}

static void fake_start(void)
{
	assert_int_equal(pthread_create(&fake.thread, NULL, fake_run, &fake), 0);
}

static void fake_stop(void)
{
	(void)shutdown(fake.listener, SHUT_RDWR);
	assert_int_equal(pthread_join(fake.thread, NULL), 0);
}

static void answer_with(const Culvert__Status__Response *pb)
{
	size_t len = culvert__status__response__get_packed_size(pb), head;

	assert_true(len + DELIMITED_HEAD_MAX <= sizeof(fake.answer));
	head = delimited_put(fake.answer, (uint32_t)len);
	fake.answer_len = head + culvert__status__response__pack(pb, fake.answer + head);
}

static void take(int memory_fd, char text[OUTPUT_MAX])
{
	ssize_t n = pread(memory_fd, text, OUTPUT_MAX - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	close(memory_fd);
}

/* Runs it with these arguments; what it says is in output and errors. */
static int run(const char *first, ...)
{
	char *argv[ARGS_MAX] = { (char *)(uintptr_t) "culvertctl" };
	int argc = 1, out = memfd_create("out", MFD_CLOEXEC), err = memfd_create("err", MFD_CLOEXEC), kept_out, kept_err, r;
	va_list args;

	va_start(args, first);
	for (const char *arg = first; arg; arg = va_arg(args, const char *)) {
		assert_true(argc < ARGS_MAX - 1);
		argv[argc++] = (char *)(uintptr_t)arg;
	}
	va_end(args);
	fflush(stdout);
	fflush(stderr);
	kept_out = dup(STDOUT_FILENO);
	kept_err = dup(STDERR_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	optind = 0;
	r = culvertctl_main(argc, argv);
	fflush(stdout);
	fflush(stderr);
	dup2(kept_out, STDOUT_FILENO);
	dup2(kept_err, STDERR_FILENO);
	close(kept_out);
	close(kept_err);
	take(out, output);
	take(err, errors);
	return r;
}

static void expect(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("not there: \"%s\" in\n%s", part, text);
}

/* --- the command line --- */

static void wrong_command_lines_are_2(void **state)
{
	(void)state;
	assert_int_equal(run(NULL), EXIT_USAGE);
	expect(errors, "usage: culvertctl");
	assert_int_equal(run("statsu", NULL), EXIT_USAGE);
	expect(errors, "did you mean status?");
	expect(errors, "there is no command \"statsu\"");
	assert_int_equal(run("\x1b[2J", NULL), EXIT_USAGE);
	expect(errors, "\"\\x1b[2J\"");
	assert_int_equal(run("-o", "xml", "status", NULL), EXIT_USAGE);
	expect(errors, "-o is table or json, not \"xml\"");
	assert_int_equal(run("status", "-o", "xml", NULL), EXIT_USAGE);
	assert_int_equal(run("status", "node1", NULL), EXIT_USAGE);
	expect(errors, "unexpected argument \"node1\"");
	assert_int_equal(run("peers", "a", "b", NULL), EXIT_USAGE);
	assert_int_equal(run("status", "--limit", "3", NULL), EXIT_USAGE);
	expect(errors, "status has no option --limit");
	assert_int_equal(run("streams", "--limit", "0", NULL), EXIT_USAGE);
	assert_int_equal(run("streams", "--limit", "65537", NULL), EXIT_USAGE);
	assert_int_equal(run("streams", "--limit", "5x", NULL), EXIT_USAGE);
	expect(errors, "must be 1 to 65536");
	assert_int_equal(run("-o", "json", "top", NULL), EXIT_USAGE);
	assert_int_equal(run("-o", "json", "ca", "init", "x", NULL), EXIT_USAGE);
	assert_int_equal(run("ca", NULL), EXIT_USAGE);
	assert_int_equal(run("ca", "sign", NULL), EXIT_USAGE);
	assert_int_equal(run("ca", "init", NULL), EXIT_USAGE);
	assert_int_equal(run("ca", "init", "a", "b", NULL), EXIT_USAGE);
	assert_int_equal(run("ca", "init", "--days", "0", "a", NULL), EXIT_USAGE);
	assert_int_equal(run("ca", "issue", "a", NULL), EXIT_USAGE);
	assert_int_equal(run("ca", "issue", "--name", "URI:x", "a", "node1", NULL), EXIT_USAGE);
	expect(errors, "{node}");
	assert_int_equal(run("ca", "issue", "--name", "shared", "a", "node1", NULL), EXIT_USAGE);
	assert_int_equal(run("ca", "issue", "a", "../evil", NULL), EXIT_USAGE);
	expect(errors, "\"../evil\" is no node's name");
	assert_int_equal(run("ca", "issue", "a", "n..1", NULL), EXIT_USAGE);
	assert_int_equal(run("--unknown", NULL), EXIT_USAGE);
	assert_string_equal(output, "");
}

static void help_and_version_are_0(void **state)
{
	(void)state;
	assert_int_equal(run("--help", NULL), EXIT_GOOD);
	expect(output, "Exit status: 0 good");
	assert_string_equal(errors, "");
	assert_int_equal(run("--version", NULL), EXIT_GOOD);
	expect(output, "culvertctl ");
}

/* --- the daemon --- */

static void a_daemon_that_is_not_there_is_3(void **state)
{
	char path[200];

	(void)state;
	snprintf(path, sizeof(path), "%s/nowhere", fake.dir);
	assert_int_equal(run("--socket", path, "status", NULL), EXIT_UNREACHABLE);
	expect(errors, "no daemon answers at");
	assert_int_equal(run("--socket", path, "top", NULL), EXIT_UNREACHABLE);
	close(fake.listener);
	assert_int_equal(run("--socket", fake.path, "status", NULL), EXIT_UNREACHABLE); /* a socket's file that nobody serves */
	fake.listener = -1;
	memset(path, 'a', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(run("--socket", path, "status", NULL), EXIT_UNREACHABLE);
	expect(errors, "a socket's path has 1 to 107 bytes");
}

static void a_daemon_that_makes_no_sense_is_3(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		const char *text;
	} cases[] = {
		{ "", 0, "closed the connection" },
		{ "\x05\x12", 2, "closed the connection" },
		{ "\x80", 1, "closed the connection" },
		{ "\xff\xff\xff\xff\xff\xff", 6, "none of culvertd's" },
		{ "\xff\xff\xff\xff\x0f", 5, "none of culvertd's" }, /* 4 GiB */
		{ "HTTP/1.1 400 Bad Request\r\n\r\n..................................................", 78, "none of culvertd's" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memcpy(fake.answer, cases[i].bytes, cases[i].len);
		fake.answer_len = cases[i].len;
		fake_start();
		assert_int_equal(run("--socket", fake.path, "status", NULL), EXIT_UNREACHABLE);
		expect(errors, cases[i].text);
		assert_string_equal(output, "");
		fake_stop();
		teardown(NULL);
		setup(NULL);
	}
}

static void a_daemon_that_refuses_is_1(void **state)
{
	Culvert__Status__Response pb = CULVERT__STATUS__RESPONSE__INIT;
	Culvert__Status__Error error = CULVERT__STATUS__ERROR__INIT;

	(void)state;
	error.code = (char *)(uintptr_t) "busy";
	error.text = (char *)(uintptr_t) "too many clients";
	pb.what_case = CULVERT__STATUS__RESPONSE__WHAT_ERROR;
	pb.error = &error;
	answer_with(&pb);
	fake_start();
	assert_int_equal(run("--socket", fake.path, "-o", "json", "status", NULL), EXIT_WRONG);
	expect(errors, "the daemon refuses: too many clients (busy)");
	assert_string_equal(output, "");
	assert_int_equal(run("--socket", fake.path, "top", NULL), EXIT_WRONG);
	fake_stop();
}

static void the_question_is_the_command(void **state)
{
	Culvert__Status__Response pb = CULVERT__STATUS__RESPONSE__INIT;
	Culvert__Status__Streams streams = CULVERT__STATUS__STREAMS__INIT;

	(void)state;
	pb.what_case = CULVERT__STATUS__RESPONSE__WHAT_STREAMS;
	pb.streams = &streams;
	streams.total = 0;
	answer_with(&pb);
	fake_start();
	assert_int_equal(run("--socket", fake.path, "streams", "--limit", "77", "node2", NULL), EXIT_GOOD);
	assert_string_equal(output, "no streams\n");
	assert_int_equal(run("--socket", fake.path, "streams", "-o", "json", NULL), EXIT_GOOD);
	assert_string_equal(output, "{\n  \"streams\": [],\n  \"total\": 0\n}\n");
	assert_int_equal(run("--socket", fake.path, "-o", "json", "streams", "-o", "table", "node2", "--limit", "77", NULL), EXIT_GOOD);
	assert_string_equal(output, "no streams\n");
	fake_stop();
	assert_int_equal(fake.connections, 3);
	assert_int_equal(fake.asked, CULVERT__STATUS__REQUEST__WHAT_STREAMS);
	assert_string_equal(fake.peer, "node2");
	assert_int_equal(fake.limit, 77);
}

static void streams_that_ended_are_another_question(void **state)
{
	Culvert__Status__Response pb = CULVERT__STATUS__RESPONSE__INIT;
	Culvert__Status__EndedStreams ended = CULVERT__STATUS__ENDED_STREAMS__INIT;

	(void)state;
	pb.what_case = CULVERT__STATUS__RESPONSE__WHAT_ENDED;
	pb.ended = &ended;
	ended.total = 0;
	answer_with(&pb);
	fake_start();
	assert_int_equal(run("--socket", fake.path, "streams", "-o", "json", "--ended", NULL), EXIT_GOOD);
	assert_string_equal(output, "{\n  \"streams\": [],\n  \"total\": 0\n}\n");
	assert_int_equal(run("--socket", fake.path, "streams", "--ended", "--limit", "77", "node2", NULL), EXIT_GOOD);
	assert_string_equal(output, "no stream has ended\n");
	fake_stop();
	assert_int_equal(fake.asked, CULVERT__STATUS__REQUEST__WHAT_ENDED);
	assert_string_equal(fake.peer, "node2");
	assert_int_equal(fake.limit, 77);
	assert_int_equal(run("peers", "--ended", NULL), EXIT_USAGE);
	expect(errors, "peers has no option --ended");
}

static void a_peer_that_is_not_there_is_1(void **state)
{
	Culvert__Status__Response pb = CULVERT__STATUS__RESPONSE__INIT;
	Culvert__Status__Peers peers = CULVERT__STATUS__PEERS__INIT;

	(void)state;
	pb.what_case = CULVERT__STATUS__RESPONSE__WHAT_PEERS;
	pb.peers = &peers;
	answer_with(&pb);
	fake_start();
	assert_int_equal(run("--socket", fake.path, "peers", NULL), EXIT_GOOD);
	assert_int_equal(run("--socket", fake.path, "peers", "nobody", NULL), EXIT_WRONG);
	expect(errors, "no node is named nobody");
	fake_stop();
	assert_string_equal(fake.peer, "nobody");
}

static void check_says_it_by_its_exit_status(void **state)
{
	Culvert__Status__Response pb = CULVERT__STATUS__RESPONSE__INIT;
	Culvert__Status__Check check = CULVERT__STATUS__CHECK__INIT;
	Culvert__Status__Finding finding = CULVERT__STATUS__FINDING__INIT, *findings[1] = { &finding };

	(void)state;
	finding.name = (char *)(uintptr_t) "ready";
	finding.text = (char *)(uintptr_t) "the daemon is not ready: why ever";
	check.findings = findings;
	check.n_findings = 1;
	pb.what_case = CULVERT__STATUS__RESPONSE__WHAT_CHECK;
	pb.check = &check;
	for (int is_good = 0; is_good < 2; is_good++) {
		check.is_good = finding.is_good = is_good;
		answer_with(&pb);
		fake_start();
		assert_int_equal(run("--socket", fake.path, "check", NULL), is_good ? EXIT_GOOD : EXIT_WRONG);
		expect(output, is_good ? "good  ready" : "BAD   ready");
		assert_int_equal(run("--socket", fake.path, "check", "-o", "json", NULL), is_good ? EXIT_GOOD : EXIT_WRONG);
		expect(output, is_good ? "\"is_good\": true" : "\"is_good\": false");
		fake_stop();
		teardown(NULL);
		setup(NULL);
	}
}

/* --- rates of top --- */

static void rates_are_of_the_same_stream(void **state)
{
	Culvert__Status__Stream old_a = CULVERT__STATUS__STREAM__INIT, old_b = CULVERT__STATUS__STREAM__INIT,
				now = CULVERT__STATUS__STREAM__INIT;
	Culvert__Status__Stream *old_list[2] = { &old_b, &old_a };
	Culvert__Status__Streams old_streams = CULVERT__STATUS__STREAMS__INIT;
	Culvert__Status__Response old = CULVERT__STATUS__RESPONSE__INIT;
	struct top t = { .old_streams = &old,
		         .old_taken = { .tv_sec = 10, .tv_nsec = 900000000 },
		         .taken = { .tv_sec = 12, .tv_nsec = 400000000 } };

	(void)state;
	old_a.client = now.client = (char *)(uintptr_t) "10.0.0.1:1";
	old_b.client = (char *)(uintptr_t) "10.0.0.2:1";
	old_a.server = old_b.server = now.server = (char *)(uintptr_t) "10.0.1.1:80";
	old_a.role = old_b.role = now.role = (char *)(uintptr_t) "client";
	old_a.sent_bytes = 1000;
	now.sent_bytes = 4000;
	now.received_bytes = 300;
	old_streams.streams = old_list;
	old_streams.n_streams = 2;
	old.streams = &old_streams;
	qsort(old_list, 2, sizeof(*old_list), compare_streams);
	assert_int_equal(elapsed_ms(&t.old_taken, &t.taken), 1500);
	assert_int_equal(moved_of_stream(&t, &now).sent, 2000);
	assert_int_equal(moved_of_stream(&t, &now).received, 200);
	/* Another stream from the same port: its counter began anew. */
	now.sent_bytes = 500;
	assert_int_equal(moved_of_stream(&t, &now).sent, 0);
	/* One that was not there before. */
	now.client = (char *)(uintptr_t) "10.0.0.3:1";
	now.sent_bytes = 1500;
	assert_int_equal(moved_of_stream(&t, &now).sent, 1000);
	t.old_streams = NULL;
	assert_int_equal(moved_of_stream(&t, &now).sent, 0); /* the first round knows nothing */
}

/* --- ca --- */

static void remove_file(const char *dir, const char *name)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(unlink(path), 0);
}

static void an_authority_and_its_nodes(void **state)
{
	static const char *const files[] = { "tls.crt", "tls.key", "ca.crt" };
	char ca[100], out[100], node1[120], node2[120];
	struct stat st;

	(void)state;
	snprintf(ca, sizeof(ca), "%s/ca", fake.dir);
	snprintf(out, sizeof(out), "%s/out", fake.dir);
	snprintf(node1, sizeof(node1), "%s/node1", ca);
	snprintf(node2, sizeof(node2), "%s/node-2.example", ca);
	assert_int_equal(run("ca", "issue", ca, "node1", NULL), EXIT_WRONG); /* there is no authority */
	assert_int_equal(run("ca", "init", ca, NULL), EXIT_GOOD);
	expect(output, "a new authority");
	assert_int_equal(run("ca", "init", ca, NULL), EXIT_WRONG); /* never overwritten */
	assert_int_equal(run("ca", "issue", ca, "node1", "node-2.example", NULL), EXIT_GOOD);
	expect(output, "node node1, URI:spiffe://cluster.local/ns/culvert/node/node1\n");
	expect(output, "node node-2.example, URI:spiffe://cluster.local/ns/culvert/node/node-2.example\n");
	assert_int_equal(run("ca", "issue", "--name", "DNS:{node}", "--out", out, "--days", "3", ca, "node3", NULL), EXIT_GOOD);
	expect(output, "node node3, DNS:node3\n");
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		remove_file(node1, files[i]);
		remove_file(node2, files[i]);
		remove_file(out, files[i]);
	}
	remove_file(ca, "ca.crt");
	remove_file(ca, "ca.key");
	assert_int_equal(stat(ca, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(rmdir(node1) + rmdir(node2) + rmdir(out) + rmdir(ca), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wrong_command_lines_are_2),
		cmocka_unit_test(help_and_version_are_0),
		cmocka_unit_test_setup_teardown(a_daemon_that_is_not_there_is_3, setup, teardown),
		cmocka_unit_test_setup_teardown(a_daemon_that_makes_no_sense_is_3, setup, teardown),
		cmocka_unit_test_setup_teardown(a_daemon_that_refuses_is_1, setup, teardown),
		cmocka_unit_test_setup_teardown(the_question_is_the_command, setup, teardown),
		cmocka_unit_test_setup_teardown(streams_that_ended_are_another_question, setup, teardown),
		cmocka_unit_test_setup_teardown(a_peer_that_is_not_there_is_1, setup, teardown),
		cmocka_unit_test_setup_teardown(check_says_it_by_its_exit_status, setup, teardown),
		cmocka_unit_test(rates_are_of_the_same_stream),
		cmocka_unit_test_setup_teardown(an_authority_and_its_nodes, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
