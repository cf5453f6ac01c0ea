/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The change of authorities, with a clock of our own: each step when it is due and not before, stored and read back at every one of them as
 * by an issuer that was killed there; and many nodes' lives through it, none of which ever refuses another. */
#include "issuer/rotation.h"
#include "tls/csr.h"
#include "tls/pem.h"
#include "tls/signer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { HOUR_S = 3600, DAY_S = 24 * HOUR_S };

static const int64_t start_s = 1700000000;
static const struct rotation_settings settings = {
	.certificate_lifetime_s = DAY_S,
	.authority_lifetime_s = 365 * DAY_S,
	.trust_delay_s = -1,
};

/* An issuer that was killed, and begins again from what was stored. */
static void restart(struct rotation *r)
{
	char error[ROTATION_ERROR_BYTES] = "";
	struct rotation_stored stored;
	struct rotation again;

	rotation_store(r, &stored);
	if (rotation_load(stored.texts, &again, error))
		fail_msg("%s", error);
	assert_string_equal(again.current.cert, r->current.cert);
	assert_string_equal(again.current.subject, r->current.subject);
	assert_int_equal(again.current.not_after_s, r->current.not_after_s);
	assert_int_equal(again.next_since_s, r->next_since_s);
	assert_int_equal(again.old_until_s, r->old_until_s);
	assert_int_equal(again.longest_s, r->longest_s);
	assert_int_equal(again.is_asked, r->is_asked);
	assert_int_equal(!again.next.cert, !r->next.cert);
	assert_int_equal(!again.old.cert, !r->old.cert);
	assert_null(again.old.key);
	rotation_done(r);
	*r = again;
}

static enum rotation_step step(struct rotation *r, int64_t now_s, bool is_published)
{
	enum rotation_step due = rotation_due(r, &settings, now_s, is_published);
	struct rotation after;

	if (due == ROTATION_STAY)
		return due;
	assert_int_equal(rotation_take(r, due, &settings, now_s, &after), 0);
	rotation_done(r);
	*r = after;
	restart(r);
	return due;
}

static size_t trusted(const struct rotation *r)
{
	struct pem pem;
	unsigned line;
	char *text;
	size_t count;

	assert_int_equal(rotation_bundle(r, &text), 0);
	assert_int_equal(pem_parse(text, strlen(text), &pem, &line), PEM_OK);
	count = pem.count;
	pem_done(&pem);
	free(text);
	return count;
}

static void test_whole_rotation(void **state)
{
	char first[CERT_SUBJECT_BYTES], second[CERT_SUBJECT_BYTES];
	int64_t now_s = start_s;
	struct rotation r;

	(void)state;
	assert_int_equal(rotation_first(&settings, now_s, &r), 0);
	restart(&r);
	assert_int_equal(step(&r, now_s, true), ROTATION_STAY);
	memcpy(first, r.current.subject, sizeof(first));

	r.is_asked = true;
	assert_int_equal(step(&r, now_s, true), ROTATION_BEGIN);
	assert_false(r.is_asked);
	assert_string_equal(r.current.subject, first);
	memcpy(second, r.next.subject, sizeof(second));
	assert_string_not_equal(first, second);
	assert_int_equal(trusted(&r), 2);

	/* Until it is known to be published, time does not count. */
	now_s += 10 * DAY_S;
	assert_int_equal(step(&r, now_s, false), ROTATION_STAY);
	assert_int_equal(step(&r, now_s, true), ROTATION_PUBLISHED);
	assert_int_equal(step(&r, now_s + DAY_S - 1, true), ROTATION_STAY);
	assert_string_equal(r.current.subject, first);
	now_s += DAY_S;
	assert_int_equal(step(&r, now_s, true), ROTATION_SWITCH);
	assert_string_equal(r.current.subject, second);
	assert_string_equal(r.old.subject, first);
	assert_null(r.old.key);
	assert_null(r.next.cert);
	assert_int_equal(trusted(&r), 2);

	/* One more that is asked for meanwhile comes after it. */
	r.is_asked = true;
	now_s += DAY_S + ROTATION_MARGIN_S;
	assert_int_equal(step(&r, now_s - 1, true), ROTATION_STAY);
	assert_int_equal(step(&r, now_s, true), ROTATION_FORGET);
	assert_int_equal(trusted(&r), 1);
	assert_int_equal(step(&r, now_s, true), ROTATION_BEGIN);
	rotation_done(&r);
}

static void test_by_age(void **state)
{
	struct rotation r;
	int64_t end_s;

	(void)state;
	assert_int_equal(rotation_first(&settings, start_s, &r), 0);
	end_s = r.current.not_after_s;
	assert_int_equal(step(&r, end_s - (end_s - r.current.not_before_s) / 3, true), ROTATION_STAY);
	assert_int_equal(step(&r, end_s - (end_s - r.current.not_before_s) / 3 + 1, true), ROTATION_BEGIN);
	rotation_done(&r);
}

/* The issuer was away for so long that its authority has ended: no certificate of it is good, so nobody is waited for. */
static void test_after_the_end(void **state)
{
	struct rotation r;
	int64_t now_s;

	(void)state;
	assert_int_equal(rotation_first(&settings, start_s, &r), 0);
	now_s = r.current.not_after_s + DAY_S;
	assert_int_equal(rotation_leaf_end(&r, &settings, now_s, 0), 0);
	assert_int_equal(step(&r, now_s, true), ROTATION_BEGIN);
	assert_int_equal(step(&r, now_s, true), ROTATION_PUBLISHED);
	assert_int_equal(step(&r, now_s, true), ROTATION_SWITCH);
	assert_int_equal(rotation_leaf_end(&r, &settings, now_s, 0), now_s + DAY_S);
	assert_int_equal(step(&r, now_s, true), ROTATION_FORGET);
	rotation_done(&r);
}

static void test_longer_certificates(void **state)
{
	struct rotation_settings longer = settings;
	struct rotation r, after;

	(void)state;
	longer.certificate_lifetime_s = 3 * DAY_S;
	assert_int_equal(rotation_first(&settings, start_s, &r), 0);
	assert_int_equal(rotation_due(&r, &longer, start_s, true), ROTATION_LENGTHEN);
	assert_int_equal(rotation_take(&r, ROTATION_LENGTHEN, &longer, start_s, &after), 0);
	rotation_done(&r);
	r = after;
	restart(&r);
	assert_int_equal(r.longest_s, 3 * DAY_S);
	/* Shorter again: those that were signed meanwhile still count when the old one is forgotten. */
	assert_int_equal(rotation_due(&r, &settings, start_s, true), ROTATION_STAY);
	r.is_asked = true;
	assert_int_equal(step(&r, start_s, true), ROTATION_BEGIN);
	assert_int_equal(step(&r, start_s, true), ROTATION_PUBLISHED);
	/* And they are waited for: who has one may not have heard of the next authority. */
	assert_int_equal(step(&r, start_s + 3 * DAY_S - 1, true), ROTATION_STAY);
	assert_int_equal(step(&r, start_s + 3 * DAY_S, true), ROTATION_SWITCH);
	assert_int_equal(r.old_until_s, start_s + 3 * DAY_S + 3 * DAY_S + ROTATION_MARGIN_S);
	assert_int_equal(r.longest_s, DAY_S);
	rotation_done(&r);
}

static void test_a_delay_of_ones_own(void **state)
{
	struct rotation_settings s = settings;
	struct rotation r, after;

	(void)state;
	s.trust_delay_s = 60;
	assert_int_equal(rotation_first(&s, start_s, &r), 0);
	assert_int_equal(rotation_trust_delay(&r, &s), 60);
	assert_int_equal(rotation_trust_delay(&r, &settings), DAY_S);
	r.is_asked = true;
	for (int k = 0; k < 2; k++) {
		assert_int_equal(rotation_take(&r, rotation_due(&r, &s, start_s, true), &s, start_s, &after), 0);
		rotation_done(&r);
		r = after;
	}
	assert_int_equal(rotation_due(&r, &s, start_s + 59, true), ROTATION_STAY);
	assert_int_equal(rotation_due(&r, &s, start_s + 60, true), ROTATION_SWITCH);
	rotation_done(&r);
}

static void test_ends_of_certificates(void **state)
{
	struct rotation r;

	(void)state;
	assert_int_equal(rotation_first(&settings, start_s, &r), 0);
	assert_int_equal(rotation_leaf_end(&r, &settings, start_s, 0), start_s + DAY_S);
	assert_int_equal(rotation_leaf_end(&r, &settings, start_s, 600), start_s + 600);
	assert_int_equal(rotation_leaf_end(&r, &settings, start_s, 1), start_s + 10);
	assert_int_equal(rotation_leaf_end(&r, &settings, start_s, 30 * DAY_S), start_s + DAY_S);
	assert_int_equal(rotation_leaf_end(&r, &settings, start_s, -5), start_s + DAY_S);
	assert_int_equal(rotation_leaf_end(&r, &settings, r.current.not_after_s - 600, 0), r.current.not_after_s);
	rotation_done(&r);
}

/* A node: it gets a certificate, and with it what is published then and nothing else; it asks again after two thirds of its life. */
struct node {
	char issuer[CERT_SUBJECT_BYTES];
	char *bundle;
	int64_t asks_s, ends_s;
};

static bool trusts(const struct node *n, const char *subject)
{
	char fault[CERT_FAULT_BYTES];
	bool does = false;
	struct cert cert;
	struct pem pem;
	unsigned line;

	assert_int_equal(pem_parse(n->bundle, strlen(n->bundle), &pem, &line), PEM_OK);
	for (size_t i = 0; i < pem.count; i++) {
		assert_int_equal(cert_read(pem.blocks[i].der, pem.blocks[i].len_bytes, &cert, fault), 0);
		does = does || strcmp(cert.subject, subject) == 0;
	}
	pem_done(&pem);
	return does;
}

/* Two rotations, one asked for in the middle of a life; every node that holds a good certificate trusts every other such node, always. */
static void test_no_node_refuses_another(void **state)
{
	enum { NODES = 12 };
	struct node nodes[NODES] = { 0 };
	unsigned switches = 0;
	struct rotation r;

	(void)state;
	srand(7);
	assert_int_equal(rotation_first(&settings, start_s, &r), 0);
	for (int64_t now_s = start_s; now_s < start_s + 12 * DAY_S; now_s += HOUR_S / 2) {
		enum rotation_step due;

		if (now_s == start_s + DAY_S + HOUR_S / 2 || now_s == start_s + 5 * DAY_S)
			r.is_asked = true;
		/* Publishing fails half of the time, and so does the step. */
		due = rand() % 2 ? ROTATION_STAY : step(&r, now_s, rand() % 2);
		switches += due == ROTATION_SWITCH;
		for (size_t i = 0; i < NODES; i++) {
			struct node *n = &nodes[i];

			/* Some nodes are off for days; those come back with a certificate that has ended. */
			if (now_s < n->asks_s || rand() % 4)
				continue;
			free(n->bundle);
			assert_int_equal(rotation_bundle(&r, &n->bundle), 0);
			memcpy(n->issuer, r.current.subject, sizeof(n->issuer));
			n->ends_s = rotation_leaf_end(&r, &settings, now_s, 0);
			n->asks_s = now_s + 16 * HOUR_S + (i == 3 ? 3 * DAY_S : 0);
		}
		for (size_t i = 0; i < NODES; i++) {
			for (size_t k = 0; k < NODES; k++) {
				if (nodes[i].ends_s > now_s && nodes[k].ends_s > now_s && !trusts(&nodes[i], nodes[k].issuer))
					fail_msg("after %lld h node %zu does not trust %s of node %zu",
					         (long long)(now_s - start_s) / HOUR_S, i, nodes[k].issuer, k);
			}
		}
	}
	assert_int_equal(switches, 2);
	for (size_t i = 0; i < NODES; i++)
		free(nodes[i].bundle);
	rotation_done(&r);
}

static void test_stored_wrongly(void **state)
{
	struct {
		enum rotation_key key;
		const char *text, *wanted;
	} const cases[] = {
		{ ROTATION_CURRENT_CERT, "", "ca.crt: is missing" },
		{ ROTATION_CURRENT_KEY, NULL, "ca.key: is missing" },
		{ ROTATION_CURRENT_CERT, "hello", "ca.crt: holds no PEM block" },
		{ ROTATION_CURRENT_KEY, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		  "ca.key: the key of /CN=Culvert CA" },
		{ ROTATION_NEXT_SINCE, "soon", "next.since: \"soon\" is no number of seconds" },
		{ ROTATION_OLD_UNTIL, "-1", "old.until: \"-1\"" },
		{ ROTATION_LONGEST, "99999999999999999999", "longest: " },
		{ ROTATION_NEXT_KEY, "x", "next.crt: is missing" },
		{ ROTATION_OLD_CERT, "x", "old.crt: holds no PEM block" },
	};
	char error[ROTATION_ERROR_BYTES];
	struct rotation r, other, out;
	struct rotation_stored stored;

	(void)state;
	assert_int_equal(rotation_first(&settings, start_s, &r), 0);
	assert_int_equal(rotation_first(&settings, start_s, &other), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		rotation_store(&r, &stored);
		stored.texts[cases[i].key] = cases[i].text;
		assert_int_equal(rotation_load(stored.texts, &out, error), -EINVAL);
		if (!strstr(error, cases[i].wanted))
			fail_msg("\"%s\" is not in: %s", cases[i].wanted, error);
	}
	rotation_store(&r, &stored);
	stored.texts[ROTATION_CURRENT_KEY] = other.current.key;
	assert_int_equal(rotation_load(stored.texts, &out, error), -EINVAL);
	assert_non_null(strstr(error, "does not belong"));
	rotation_done(&r);
	rotation_done(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_rotation),          cmocka_unit_test(test_by_age),
		cmocka_unit_test(test_after_the_end),           cmocka_unit_test(test_longer_certificates),
		cmocka_unit_test(test_a_delay_of_ones_own),     cmocka_unit_test(test_ends_of_certificates),
		cmocka_unit_test(test_no_node_refuses_another), cmocka_unit_test(test_stored_wrongly),
	};

	if (tls_init())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
