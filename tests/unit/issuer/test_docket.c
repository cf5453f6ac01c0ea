/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The requests that wait: which are taken, how they change under our hands, and how many fit. */
#include "issuer/docket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SIGNER "culvert.dev/node"
#define UID    "0b1c2d3e-0000-4000-8000-000000000001"

static struct name_template template;
static const struct judge_settings settings = { .name_space = "culvert", .account = "culvert", .name = &template };
static struct pem_text key, pem;

static const char *const usages[] = { "digital signature", "client auth", "server auth" };
static const char *const pod_names[] = { "culvert-x" }, *const pod_uids[] = { UID };
static const struct object_extra extra[] = {
	{ "authentication.kubernetes.io/pod-name", pod_names, 1 },
	{ "authentication.kubernetes.io/pod-uid", pod_uids, 1 },
};

static struct object_request good(const char *name, const char *version)
{
	return (struct object_request){
		.meta = { .name = name, .version = version, .uid = "u", .name_space = "" },
		.signer = SIGNER,
		.username = "system:serviceaccount:culvert:culvert",
		.user_uid = "",
		.pem = pem.text,
		.pem_bytes = pem.len_bytes,
		.usages = usages,
		.usages_count = 3,
		.extra = extra,
		.extra_count = 2,
		.verdict = "",
	};
}

static int setup_all(void **state)
{
	static const struct tls_name name = { .type = TLS_NAME_URI, .text = "spiffe://x/node/n1" };
	char error[NAME_ERROR_BYTES];

	(void)state;
	return tls_init() || name_template_parse("URI:spiffe://x/node/{node}", &template, error) || csr_make(&name, &key, &pem);
}

static int teardown_all(void **state)
{
	(void)state;
	pem_free(&key);
	pem_free(&pem);
	return 0;
}

static void put(struct docket *d, const struct object_request *r)
{
	assert_int_equal(docket_put(d, &settings, SIGNER, r), 0);
}

static void test_only_open_requests_wait(void **state)
{
	struct object_request r;
	struct docket d;

	(void)state;
	docket_init(&d);
	r = good("a", "1");
	r.signer = "example.org/other";
	put(&d, &r);
	r = good("a", "1");
	r.is_denied = true;
	put(&d, &r);
	r = good("a", "1");
	r.is_failed = true;
	put(&d, &r);
	r = good("a", "1");
	r.certificate = "x";
	put(&d, &r);
	r = good("a", "1");
	r.meta.is_deleting = true;
	put(&d, &r);
	assert_null(docket_first(&d));
	r = good("a", "1");
	r.is_approved = true;
	r.lifetime_s = 600;
	put(&d, &r);
	assert_non_null(docket_first(&d));
	assert_true(docket_first(&d)->is_approved);
	assert_int_equal(docket_first(&d)->lifetime_s, 600);
	assert_null(docket_first(&d)->refusal);
	assert_string_equal(docket_first(&d)->claim.pod_uid, UID);
	/* Answered meanwhile, by whom ever. */
	r.certificate = "x";
	r.meta.version = "2";
	put(&d, &r);
	assert_null(docket_first(&d));
	assert_int_equal(d.count, 0);
	docket_done(&d);
}

static void test_the_first_comes_first(void **state)
{
	struct object_request r;
	struct docket d;

	(void)state;
	docket_init(&d);
	for (int i = 0; i < 3; i++) {
		r = good((const char *const[]){ "a", "b", "c" }[i], "1");
		put(&d, &r);
	}
	r = good("a", "2"); /* a change does not lose its place */
	put(&d, &r);
	assert_int_equal(d.count, 3);
	assert_string_equal(docket_first(&d)->name, "a");
	assert_string_equal(docket_first(&d)->version, "2");
	docket_remove(&d, "a");
	docket_remove(&d, "none");
	assert_string_equal(docket_first(&d)->name, "b");
	docket_done(&d);
	assert_int_equal(d.count, 0);
}

static void test_one_that_can_not_be_answered_holds_nobody_up(void **state)
{
	static const char *const names[] = { "a", "b", "c" };
	struct object_request r;
	struct docket d;

	(void)state;
	docket_init(&d);
	for (int i = 0; i < 3; i++) {
		r = good(names[i], "1");
		put(&d, &r);
	}
	docket_defer(&d, "a");
	assert_string_equal(docket_first(&d)->name, "b");
	docket_defer(&d, "gone");
	docket_remove(&d, "b");
	docket_remove(&d, "c");
	assert_string_equal(docket_first(&d)->name, "a");
	docket_defer(&d, "a");
	assert_string_equal(docket_first(&d)->name, "a");
	assert_int_equal(d.count, 1);
	docket_done(&d);
}

static void test_a_change_is_judged_anew(void **state)
{
	const struct object_pod pod = {
		.meta = { .name_space = "culvert", .name = "culvert-x", .uid = UID, .version = "1" },
		.node = "n1",
		.account = "culvert",
		.phase = OBJECT_RUNNING,
	};
	struct object_request r = good("a", "1");
	struct object_pod other = pod;
	struct docket_case *c;
	struct docket d;

	(void)state;
	docket_init(&d);
	r.usages_count = 1;
	put(&d, &r);
	c = docket_first(&d);
	assert_non_null(c->refusal);
	assert_int_equal(c->refusal->reason, JUDGE_WRONG_USAGES);
	/* The same version says nothing new. */
	r.usages_count = 3;
	put(&d, &r);
	assert_non_null(c->refusal);
	r.meta.version = "2";
	put(&d, &r);
	assert_null(c->refusal);
	assert_int_equal(docket_judge_pod(c, &settings, &pod), 0);
	assert_string_equal(c->node, "n1");
	/* What was known of the pod is asked again with the next change. */
	r.meta.version = "3";
	put(&d, &r);
	assert_string_equal(c->node, "");
	other.node = "n2";
	assert_int_equal(docket_judge_pod(c, &settings, &other), 0);
	assert_string_equal(c->node, "");
	assert_int_equal(c->refusal->reason, JUDGE_WRONG_NAME);
	docket_done(&d);
}

static void test_no_more_than_fit(void **state)
{
	struct object_request r;
	struct docket d;
	char name[32];

	(void)state;
	docket_init(&d);
	d.count = DOCKET_MAX - 1; /* as if so many were there */
	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "r%d", i);
		r = good(name, "1");
		r.usages_count = 0;
		put(&d, &r);
	}
	assert_int_equal(d.count, DOCKET_MAX);
	assert_true(d.is_overflown);
	/* One that is there may still change. */
	r = good("r0", "2");
	put(&d, &r);
	assert_string_equal(docket_first(&d)->version, "2");
	docket_done(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_open_requests_wait),
		cmocka_unit_test(test_the_first_comes_first),
		cmocka_unit_test(test_one_that_can_not_be_answered_holds_nobody_up),
		cmocka_unit_test(test_a_change_is_judged_anew),
		cmocka_unit_test(test_no_more_than_fit),
	};

	return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
