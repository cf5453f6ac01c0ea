/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Files that change together: whole or not at all, and seen by who watches the folder. */
#include "tls/cred.h"
#include "tls/generation.h"
#include "unit/pki.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[160];
static unsigned number;

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "%s/generation%u", pki_get()->dir, number++);
	return 0;
}

static const char *path_of(const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static const char *content(const char *name)
{
	static char text[16384];
	FILE *f = fopen(path_of(name), "re");

	if (!f)
		return NULL;
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
	return text;
}

static unsigned entries(void)
{
	char command[256];
	unsigned count = 0;
	FILE *f;

	snprintf(command, sizeof(command), "ls -A %s | wc -l", dir);
	f = popen(command, "re");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%u", &count), 1);
	pclose(f);
	return count;
}

static void write_two(const char *a, const char *b)
{
	const struct generation_file files[] = { { "a", a, strlen(a), 0600 }, { "b", b, strlen(b), 0644 } };
	char error[GENERATION_ERROR_BYTES] = "";

	if (generation_write(dir, files, 2, NULL, NULL, error))
		fail_msg("%s", error);
}

static void test_replaced_together(void **state)
{
	char before[256], after[256];
	struct stat st;
	ssize_t n;

	(void)state;
	write_two("1", "one");
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(stat(path_of("a"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(stat(path_of("..data/b"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	n = readlink(path_of("..data"), before, sizeof(before) - 1);
	assert_true(n > 0);
	before[n] = '\0';
	write_two("2", "two");
	n = readlink(path_of("..data"), after, sizeof(after) - 1);
	assert_true(n > 0);
	after[n] = '\0';
	assert_string_not_equal(before, after);
	assert_string_equal(content("a"), "2");
	assert_string_equal(content("b"), "two");
	/* ..data, a, b and one generation. */
	assert_int_equal(entries(), 4);
	assert_int_equal(access(path_of(before), F_OK), -1);
}

static int refuse(void *ctx, const char *folder, char error[GENERATION_ERROR_BYTES])
{
	char path[400];

	snprintf(path, sizeof(path), "%s/%s", folder, (const char *)ctx);
	assert_int_equal(access(path, F_OK), 0);
	snprintf(error, GENERATION_ERROR_BYTES, "not these");
	return -EINVAL;
}

static void test_refused(void **state)
{
	const struct generation_file files[] = { { "a", "3", 1, 0600 } };
	char error[GENERATION_ERROR_BYTES] = "";

	(void)state;
	write_two("1", "one");
	assert_int_equal(generation_write(dir, files, 1, refuse, (char[]){ "a" }, error), -EINVAL);
	assert_string_equal(error, "not these");
	assert_string_equal(content("a"), "1");
	assert_int_equal(entries(), 4);
}

static void test_after_a_crash(void **state)
{
	(void)state;
	write_two("1", "one");
	/* Half made, a link that was not renamed, and a plain file under a link's name. */
	assert_int_equal(mkdir(path_of("..generation-0000000000000001"), 0700), 0);
	assert_int_equal(mkdir(path_of("..generation-0000000000000002"), 0700), 0);
	assert_int_equal(symlink("nowhere", path_of("..data.new")), 0);
	assert_int_equal(unlink(path_of("a")), 0);
	assert_int_equal(symlink("elsewhere", path_of("a")), 0);
	write_two("2", "two");
	assert_string_equal(content("a"), "2");
	assert_int_equal(entries(), 4);
}

static void test_folder_that_can_not_be(void **state)
{
	const struct generation_file files[] = { { "a", "3", 1, 0600 } };
	char error[GENERATION_ERROR_BYTES] = "";

	(void)state;
	snprintf(dir, sizeof(dir), "/proc/nothing-here");
	assert_true(generation_write(dir, files, 1, NULL, NULL, error) < 0);
	assert_non_null(strstr(error, "/proc/nothing-here"));
}

static void test_removed(void **state)
{
	(void)state;
	write_two("1", "one");
	generation_remove(dir);
	assert_int_equal(access(dir, F_OK), -1);
	generation_remove(dir);
	/* What is not ours stays, and the folder with it. */
	write_two("1", "one");
	assert_int_equal(symlink("/elsewhere", path_of("other")), 0);
	generation_remove(dir);
	assert_int_equal(entries(), 1);
	assert_int_equal(unlink(path_of("other")), 0);
}

/* cred follows it: a new generation is told by the watch, and read whole. */
static void test_with_cred(void **state)
{
	static const char *const names[] = { "tls.crt", "tls.key", "ca.crt" };
	char error[CRED_ERROR_BYTES] = "", text[3][8192], path[512];
	struct generation_file files[3];
	struct cred_info info;
	struct tls_ctx *ctx;
	struct cred_watch *w;
	struct pollfd fd;

	(void)state;
	for (int node = 0; node < PKI_NODES; node++) {
		const struct pki_node *n = &pki_get()->nodes[node];

		for (size_t i = 0; i < 3; i++) {
			FILE *f;

			snprintf(path, sizeof(path), "%s/%s", n->dir, names[i]);
			f = fopen(path, "re");
			assert_non_null(f);
			text[i][fread(text[i], 1, sizeof(text[i]) - 1, f)] = '\0';
			fclose(f);
			files[i] = (struct generation_file){ names[i], text[i], strlen(text[i]), 0600 };
		}
		if (node == 1)
			assert_int_equal(cred_watch_create(dir, &w), 0);
		if (generation_write(dir, files, 3, NULL, NULL, error))
			fail_msg("%s", error);
		if (cred_load(dir, &n->name, &ctx, &info, error))
			fail_msg("%s", error);
		assert_string_equal(info.self.serial, n->info.self.serial);
		tls_ctx_unref(ctx);
	}
	fd = (struct pollfd){ .fd = cred_watch_fd(w), .events = POLLIN };
	assert_int_equal(poll(&fd, 1, -1), 1);
	assert_true(cred_watch_drain(w));
	cred_watch_destroy(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_replaced_together, setup), cmocka_unit_test_setup(test_refused, setup),
		cmocka_unit_test_setup(test_after_a_crash, setup),     cmocka_unit_test_setup(test_folder_that_can_not_be, setup),
		cmocka_unit_test_setup(test_with_cred, setup),         cmocka_unit_test_setup(test_removed, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
