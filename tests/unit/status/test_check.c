/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sample.h"
#include "status/check.h"

#include <stdio.h>
#include <string.h>

static struct sample sample;

/* What must be bad is bad, the rest good, and the sentence says why. */
static void expect(int bad, const char *why)
{
	struct check_finding f[CHECK_COUNT];

	status_check(&sample.snapshot, f);
	for (int i = 0; i < CHECK_COUNT; i++) {
		if (f[i].is_good == (i == bad))
			fail_msg("%s: %s, unexpected: %s", f[i].name, f[i].is_good ? "good" : "bad", f[i].text);
		assert_true(f[i].text[0]);
	}
	if (bad >= 0 && !strstr(f[bad].text, why))
		fail_msg("\"%s\" does not say \"%s\"", f[bad].text, why);
}

static int setup(void **state)
{
	(void)state;
	sample_init(&sample);
	return 0;
}

static void a_healthy_node_is_good(void **state)
{
	(void)state;
	expect(-1, "");
}

static void not_ready(void **state)
{
	(void)state;
	sample.snapshot.is_ready = false;
	sample.snapshot.reason = "no route to the moon";
	expect(CHECK_READY, "no route to the moon");
	sample.snapshot.reason = NULL;
	expect(CHECK_READY, "not ready");
}

static void certificate_ends_within_a_week(void **state)
{
	struct snapshot_certificates *c = &sample.snapshot.certificates;

	(void)state;
	c->not_before_s = SAMPLE_NOW_S - 83 * (int64_t)SAMPLE_DAY_S;
	c->not_after_s = SAMPLE_NOW_S + 7 * (int64_t)SAMPLE_DAY_S;
	expect(-1, "");
	c->not_after_s--;
	expect(CHECK_CERTIFICATE, "ends in 6 days");
	c->not_after_s = SAMPLE_NOW_S;
	expect(CHECK_CERTIFICATE, "has ended");
}

/* One that lives for a day is renewed every day: it is a finding when that did not happen. */
static void certificate_of_a_day(void **state)
{
	struct snapshot_certificates *c = &sample.snapshot.certificates;

	(void)state;
	c->not_before_s = SAMPLE_NOW_S - SAMPLE_DAY_S * 3 / 4;
	c->not_after_s = SAMPLE_NOW_S + SAMPLE_DAY_S / 4;
	expect(-1, "");
	c->not_before_s -= 3600;
	c->not_after_s -= 3600;
	expect(CHECK_CERTIFICATE, "ends in 5 hours: it should have been replaced by now");
	c->names_count = 0;
	expect(CHECK_CERTIFICATE, "there is no certificate yet");
}

static void certificate_that_is_asked_for(void **state)
{
	struct snapshot_issuance *i = &sample.snapshot.certificates.issuance;

	(void)state;
	*i = (struct snapshot_issuance){
		.is_there = true, .signer = "culvert.dev/node", .phase = "waiting", .renewal_s = SAMPLE_NOW_S + 1
	};
	snprintf(i->error, sizeof(i->error), "the request x was denied");
	expect(-1, ""); /* nothing is due */
	i->renewal_s = SAMPLE_NOW_S;
	expect(CHECK_CERTIFICATE, "can not be had or renewed: the request x was denied");
	i->error[0] = '\0';
	expect(-1, "");
}

static void the_earliest_authority_counts(void **state)
{
	struct snapshot_certificates *c = &sample.snapshot.certificates;

	(void)state;
	c->authorities_count = 2;
	snprintf(c->authorities[1].subject, sizeof(c->authorities[1].subject), "CN=Old CA");
	c->authorities[1].not_after_s = SAMPLE_NOW_S + 2 * (int64_t)SAMPLE_DAY_S;
	expect(CHECK_AUTHORITIES, "CN=Old CA");
	c->authorities_count = 0;
	expect(CHECK_AUTHORITIES, "no authority");
}

static void a_refused_reload(void **state)
{
	(void)state;
	sample.reloads[1].error = "nodes.yaml: line 3: what is this";
	expect(CHECK_RELOAD, "line 3");
}

static void a_device_where_we_are_not_first(void **state)
{
	(void)state;
	sample.devices[0].is_first = false;
	strcpy(sample.devices[0].detail, "cil_to_netdev is before us");
	expect(CHECK_DEVICES, "cil_to_netdev");
	sample.devices[0].is_attached = false;
	expect(CHECK_DEVICES, "no device");
}

static void clear_payload_between_enrolled_pods(void **state)
{
	static const char *const classes[] = { "permissive", "bypass", "unclassifiable" };

	(void)state;
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
		sample.counters[2].name = classes[i];
		sample.counters[2].packets = 3;
		expect(CHECK_CLEAR, classes[i]);
		sample.counters[2].is_clear = false; /* it was dropped */
		expect(-1, "");
		sample.counters[2].is_clear = true;
	}
	sample.counters[2].name = "older"; /* allowed by the mode, and shown by status */
	expect(-1, "");
	sample.snapshot.counters_count = 0;
	expect(CHECK_CLEAR, "can not be read");
}

static void a_cluster_that_is_not_followed_or_not_joined(void **state)
{
	struct snapshot_cluster c = { .is_synced = true, .is_current = true, .nodes = 3, .enrolled = 3, .enrolment = "enrolled" };

	(void)state;
	sample.snapshot.cluster = &c;
	expect(-1, "");
	c.is_current = false;
	c.missing = "nodes: connection refused";
	expect(CHECK_CLUSTER, "nodes: connection refused");
	c.is_current = true;
	c.enrolment = "waiting";
	c.enrolment_detail = "the node's record can not be made: 403";
	expect(CHECK_CLUSTER, "403");
	c.enrolment = "enrolled";
	c.other_port[0] = "n9";
	c.other_port_count = 1;
	expect(CHECK_CLUSTER, "node n9");
	c.other_port_count = 0;
	c.is_too_large = true;
	c.nodes_at_most = 500;
	expect(CHECK_CLUSTER, "500");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_healthy_node_is_good, setup),
		cmocka_unit_test_setup(not_ready, setup),
		cmocka_unit_test_setup(certificate_ends_within_a_week, setup),
		cmocka_unit_test_setup(certificate_of_a_day, setup),
		cmocka_unit_test_setup(certificate_that_is_asked_for, setup),
		cmocka_unit_test_setup(the_earliest_authority_counts, setup),
		cmocka_unit_test_setup(a_refused_reload, setup),
		cmocka_unit_test_setup(a_device_where_we_are_not_first, setup),
		cmocka_unit_test_setup(clear_payload_between_enrolled_pods, setup),
		cmocka_unit_test_setup(a_cluster_that_is_not_followed_or_not_joined, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
