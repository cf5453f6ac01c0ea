/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The watcher: each way in which a folder of certificates changes is told, and nothing else is. */
#include "tls/cred.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char root[64], folder[96];
static struct cred_watch *watch;

__attribute__((format(printf, 1, 2))) static void shell(const char *format, ...)
{
	char command[1024];
	va_list args;
	int n = snprintf(command, sizeof(command), "cd %s && ", root);

	va_start(args, format);
	vsnprintf(command + n, sizeof(command) - (size_t)n, format, args);
	va_end(args);
	if (system(command))
		fail_msg("%s", command);
}

/* inotify queues an event before the call that made it returns, so nothing has to be waited for. */
static bool is_readable(void)
{
	struct pollfd p = { .fd = cred_watch_fd(watch), .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void expect_told(void)
{
	assert_true(is_readable());
	assert_true(cred_watch_drain(watch));
	assert_false(is_readable());
}

static void expect_silence(void)
{
	if (is_readable())
		assert_false(cred_watch_drain(watch));
}

static int setup(void **state)
{
	(void)state;
	snprintf(root, sizeof(root), "/tmp/culvert-watch-XXXXXX");
	assert_non_null(mkdtemp(root));
	snprintf(folder, sizeof(folder), "%s/id", root);
	shell("mkdir id && echo 1 > id/tls.crt && echo 1 > id/tls.key");
	assert_int_equal(cred_watch_create(folder, &watch), 0);
	expect_silence();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	cred_watch_destroy(watch);
	shell("rm -r %s", root);
	return 0;
}

static void test_write_in_place(void **state)
{
	(void)state;
	shell("echo 2 > id/tls.crt");
	expect_told();
	shell("echo 3 >> id/tls.key");
	expect_told();
}

static void test_rename_over(void **state)
{
	(void)state;
	shell("echo 2 > new && mv new id/tls.crt");
	expect_told();
	shell("echo 2 > id/.new && mv id/.new id/tls.key");
	expect_told();
}

static void test_file_comes_and_goes(void **state)
{
	(void)state;
	shell("echo 1 > id/crl.pem");
	expect_told();
	shell("rm id/crl.pem");
	expect_told();
}

static void test_data_is_swapped(void **state)
{
	(void)state;
	/* As the kubelet does it: a new folder, a link beside, a rename over ..data, then the old folder goes. */
	shell("rm id/* && mkdir id/..1 && echo 1 > id/..1/tls.crt && ln -s ..1 id/..data && ln -s ..data/tls.crt id/tls.crt");
	expect_told();
	for (int i = 2; i < 6; i++) {
		shell("mkdir id/..%d && echo %d > id/..%d/tls.crt && ln -s ..%d id/..data_tmp && mv -T id/..data_tmp id/..data", i, i, i,
		      i);
		expect_told();
		shell("rm -r id/..%d", i - 1);
		expect_told();
		/* Behind the new link, too. */
		shell("echo again > id/..%d/tls.crt", i);
		expect_told();
	}
}

static void test_folder_is_deleted_and_made_again(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		shell("rm -r id");
		expect_told();
		shell("mkdir id");
		expect_told();
		shell("echo 2 > id/tls.crt");
		expect_told();
		shell("echo 3 > id/tls.crt");
		expect_told();
	}
}

static void test_folder_is_replaced_between_two_looks(void **state)
{
	(void)state;
	shell("mkdir new && echo 2 > new/tls.crt && mv id old && mv new id");
	expect_told();
	shell("echo 3 > id/tls.crt");
	expect_told();
	/* The one that went is ours no more. */
	shell("echo 3 > old/tls.crt");
	expect_silence();
}

static void test_folder_behind_a_link(void **state)
{
	(void)state;
	cred_watch_destroy(watch);
	shell("mv id one && mkdir two && echo 2 > two/tls.crt && ln -s one id");
	assert_int_equal(cred_watch_create(folder, &watch), 0);
	shell("echo 2 > one/tls.crt");
	expect_told();
	shell("ln -s two new && mv -T new id");
	expect_told();
	shell("echo 3 > two/tls.crt");
	expect_told();
}

static void test_neighbours_are_not_ours(void **state)
{
	(void)state;
	shell("mkdir other && echo 1 > other/file && echo 1 > idx && rm -r other idx");
	assert_true(is_readable());
	assert_false(cred_watch_drain(watch));
}

static void test_folder_that_is_not_there_yet(void **state)
{
	struct cred_watch *w = NULL;

	(void)state;
	cred_watch_destroy(watch);
	shell("rm -r id");
	assert_int_equal(cred_watch_create(folder, &watch), 0);
	shell("mkdir id");
	expect_told();
	shell("echo 1 > id/tls.crt");
	expect_told();
	assert_int_equal(cred_watch_create("/nowhere/at/all", &w), -ENOENT);
	assert_null(w);
}

static void test_reading_is_no_change(void **state)
{
	(void)state;
	shell("cat id/tls.crt > /dev/null && ls id > /dev/null");
	expect_silence();
}

static void test_slashes_at_the_end(void **state)
{
	char text[128];

	(void)state;
	cred_watch_destroy(watch);
	snprintf(text, sizeof(text), "%s//", folder);
	assert_int_equal(cred_watch_create(text, &watch), 0);
	shell("rm -r id && mkdir id");
	expect_told();
	shell("echo 1 > id/tls.crt");
	expect_told();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_write_in_place, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rename_over, setup, teardown),
		cmocka_unit_test_setup_teardown(test_file_comes_and_goes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_data_is_swapped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_folder_is_deleted_and_made_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_folder_is_replaced_between_two_looks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_folder_behind_a_link, setup, teardown),
		cmocka_unit_test_setup_teardown(test_neighbours_are_not_ours, setup, teardown),
		cmocka_unit_test_setup_teardown(test_folder_that_is_not_there_yet, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reading_is_no_change, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slashes_at_the_end, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
