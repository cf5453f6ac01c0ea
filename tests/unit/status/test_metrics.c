/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sample.h"
#include "status/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SERIES_MAX = 1024, LINE_BYTES = 512 };

static char *print(const struct snapshot *s)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	metrics_print(s, out);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(strlen(text), len);
	return text;
}

static void expect(const char *text, const char *line)
{
	char whole[LINE_BYTES];

	snprintf(whole, sizeof(whole), "\n%s\n", line);
	if (!strstr(text, whole))
		fail_msg("there is no line %s in:\n%s", line, text);
}

static bool is_name(const char *from, const char *to)
{
	if (from == to || (*from >= '0' && *from <= '9'))
		return false;
	for (; from < to; from++) {
		if (!(*from >= 'a' && *from <= 'z') && !(*from >= '0' && *from <= '9') && *from != '_')
			return false;
	}
	return true;
}

/* The end of {name="text",...}, or NULL. */
static const char *after_labels(const char *p)
{
	if (*p != '{')
		return p;
	do {
		const char *name = ++p;

		p = strchr(p, '=');
		if (!p || !is_name(name, p) || *++p != '"')
			return NULL;
		for (p++; *p != '"'; p++) {
			if (*p == '\0' || (*p == '\\' && !strchr("\\\"n", *++p)))
				return NULL;
		}
		p++;
	} while (*p == ',');
	return *p == '}' ? p + 1 : NULL;
}

static bool is_figure(const char *p)
{
	size_t whole = strspn(p, "0123456789"), part = 0;

	if (p[whole] == '.')
		part = strspn(p + whole + 1, "0123456789") + 1;
	return whole > 0 && part != 1 && p[whole + part] == '\0';
}

/* Every line is well formed; families come whole, with HELP and TYPE first; no series comes twice. Returns how many series there are. */
static size_t check_form(const char *text)
{
	static char seen[SERIES_MAX][LINE_BYTES];
	char *copy = strdup(text), family[LINE_BYTES] = "", type[LINE_BYTES] = "";
	size_t series = 0, samples = 1;

	assert_non_null(copy);
	assert_int_equal(text[strlen(text) - 1], '\n');
	for (char *line = strtok(copy, "\n"); line; line = strtok(NULL, "\n")) {
		const char *end;
		size_t name_len;

		if (!strncmp(line, "# HELP ", 7)) {
			assert_int_not_equal(samples, 0); /* of the family before */
			samples = 0;
			assert_int_equal(sscanf(line, "# HELP %511s", family), 1);
			assert_true(strlen(line) > strlen("# HELP  ") + strlen(family));
			snprintf(type, sizeof(type), "# TYPE %.400s ", family);
			continue;
		}
		if (!strncmp(line, "# TYPE ", 7)) {
			const char *what = line + strlen(type);
			bool is_total = strlen(family) > 6 && !strcmp(family + strlen(family) - 6, "_total");

			assert_memory_equal(line, type, strlen(type));
			assert_string_equal(what, is_total ? "counter" : "gauge");
			for (size_t i = 0; i < series; i++)
				assert_false(!strncmp(seen[i], family, strlen(family)) && strchr("{ ", seen[i][strlen(family)]));
			continue;
		}
		name_len = strcspn(line, "{ ");
		assert_int_equal(name_len, strlen(family));
		assert_memory_equal(line, family, name_len);
		assert_true(is_name(line, line + name_len));
		end = after_labels(line + name_len);
		if (!end || *end != ' ' || !is_figure(end + 1))
			fail_msg("not well formed: %s", line);
		assert_true(series < SERIES_MAX);
		snprintf(seen[series], LINE_BYTES, "%.*s", (int)(end + 1 - line), line);
		for (size_t i = 0; i < series; i++)
			assert_string_not_equal(seen[i], seen[series]);
		series++;
		samples++;
	}
	assert_int_not_equal(samples, 0);
	free(copy);
	return series;
}

static void a_sample_in_the_text_format(void **state)
{
	struct sample sample;
	char *text;

	(void)state;
	sample_init(&sample);
	text = print(&sample.snapshot);
	assert_true(check_form(text) > 100);
	expect(text, "# TYPE culvert_ready gauge\nculvert_ready 1");
	expect(text, "culvert_build_info{version=\"0.1.0\"} 1");
	expect(text, "culvert_config_info{node=\"node1\",mode=\"strict\",connect=\"optimistic\",identity=\"node\"} 1");
	expect(text, "culvert_nodes 3");
	expect(text, "culvert_workers_full 1");
	expect(text, "# TYPE culvert_workers_busy_seconds_total counter\nculvert_workers_busy_seconds_total 3.000500");
	expect(text, "culvert_pod_prefixes 1200");
	expect(text, "culvert_peers{state=\"none\"} 0\nculvert_peers{state=\"connecting\"} 1\nculvert_peers{state=\"up\"} 1");
	expect(text, "culvert_tunnels{state=\"connecting\"} 1\nculvert_tunnels{state=\"up\"} 2");
	expect(text, "culvert_streams{state=\"waiting\"} 1\nculvert_streams{state=\"open\"} 2");
	expect(text, "culvert_tunnels_opened_total 3");
	expect(text, "culvert_tunnels_failed_total{reason=\"refused\"} 7");
	expect(text, "culvert_handshakes_refused_total{reason=\"certificate\"} 8");
	expect(text, "culvert_streams_ended_total{reason=\"finished\"} 5\nculvert_streams_ended_total{reason=\"pod_reset\"} 1");
	expect(text, "culvert_streams_ended_total{reason=\"moved\"} 0");
	expect(text, "culvert_sent_bytes_total 1000");
	expect(text, "culvert_received_bytes_total 2000");
	expect(text, "culvert_memory_limit_bytes 1073741824");
	expect(text, "culvert_memory_granted_bytes 98304");
	expect(text, "culvert_certificate_expiry_timestamp_seconds 1807689600");
	expect(text, "culvert_authority_expiry_timestamp_seconds 2115360000");
	expect(text, "culvert_reloads_total{what=\"nodes\"} 2");
	expect(text, "culvert_reload_failures_total{what=\"settings\"} 0\nculvert_reload_failures_total{what=\"nodes\"} 3");
	expect(text, "culvert_reload_timestamp_seconds{what=\"nodes\"} 1799999970");
	expect(text, "culvert_devices{state=\"first\"} 1\nculvert_devices{state=\"behind\"} 0\nculvert_devices{state=\"not_edge\"} 1");
	expect(text, "culvert_kernel_packets_total{class=\"tunnel\",direction=\"egress\",verdict=\"passed\"} 10");
	expect(text, "culvert_kernel_packets_total{class=\"refused\",direction=\"ingress\",verdict=\"refused\"} 2");
	expect(text, "culvert_kernel_bytes_total{class=\"outside\",direction=\"egress\",verdict=\"clear\"} 7000");
	expect(text, "process_cpu_seconds_total 12.000034");
	expect(text, "process_start_time_seconds 1799999940");
	free(text);
}

static void faults_show(void **state)
{
	struct sample sample;
	char *text;

	(void)state;
	sample_init(&sample);
	sample.snapshot.is_ready = false;
	sample.snapshot.is_draining = true;
	sample.snapshot.is_shared_identity = true;
	sample.reloads[1].error = "nodes.yaml:3: what is this";
	sample.devices[0].is_first = false;
	sample.snapshot.certificates.authorities_count = 2;
	sample.snapshot.certificates.authorities[1].not_after_s = SAMPLE_NOW_S + 5;
	sample.snapshot.certificates.has_crl = true;
	text = print(&sample.snapshot);
	check_form(text);
	expect(text, "culvert_ready 0");
	expect(text, "culvert_draining 1");
	expect(text, "culvert_reload_successful{what=\"settings\"} 1\nculvert_reload_successful{what=\"nodes\"} 0");
	expect(text, "culvert_devices{state=\"first\"} 0\nculvert_devices{state=\"behind\"} 1");
	expect(text, "culvert_authorities 2");
	expect(text, "culvert_authority_expiry_timestamp_seconds 1800000005");
	expect(text, "culvert_crl_loaded 1");
	assert_non_null(strstr(text, "identity=\"shared\"} 1\n"));
	free(text);
}

static void a_cluster_has_figures_of_its_own(void **state)
{
	static const struct snapshot_cluster cluster = {
		.is_current = true,
		.since_s = SAMPLE_NOW_S - 10,
		.enrolment = "enrolled",
		.nodes_at_most = 500,
		.refused_total = 9,
		.refusals_count = 2,
		.ended_addresses = 3,
		.followed_count = 2,
		.followed = { { .what = "nodes", .is_current = true, .objects = 3, .lists = 1, .watches = 4, .events = 5, .bytes = 6 },
		              { .what = "pods", .is_forbidden = true, .refused = 7 } },
	};
	struct sample sample;
	char *text;

	(void)state;
	sample_init(&sample);
	text = print(&sample.snapshot);
	assert_null(strstr(text, "culvert_kubernetes_"));
	assert_null(strstr(text, "culvert_enrolled"));
	expect(text, "culvert_pairs{state=\"not_enrolled\"} 1\nculvert_pairs{state=\"joining\"} 0\nculvert_pairs{state=\"joined\"} 1");
	free(text);
	sample.snapshot.cluster = &cluster;
	sample.snapshot.certificates.issuance = (struct snapshot_issuance){ .is_there = true, .issued = 2, .renewal_s = SAMPLE_NOW_S + 7 };
	text = print(&sample.snapshot);
	check_form(text);
	expect(text, "culvert_kubernetes_current 1");
	expect(text, "culvert_kubernetes_current_timestamp_seconds 1799999990");
	expect(text, "culvert_enrolled 1");
	expect(text, "culvert_kubernetes_following{kind=\"nodes\"} 1\nculvert_kubernetes_following{kind=\"pods\"} 0");
	expect(text, "culvert_kubernetes_forbidden{kind=\"nodes\"} 0\nculvert_kubernetes_forbidden{kind=\"pods\"} 1");
	expect(text, "culvert_kubernetes_objects{kind=\"nodes\"} 3");
	expect(text, "culvert_kubernetes_lists_total{kind=\"nodes\"} 1");
	expect(text, "culvert_kubernetes_watches_total{kind=\"nodes\"} 4");
	expect(text, "culvert_kubernetes_events_total{kind=\"nodes\"} 5");
	expect(text, "culvert_kubernetes_received_bytes_total{kind=\"nodes\"} 6");
	expect(text, "culvert_kubernetes_unreadable_total{kind=\"nodes\"} 0\nculvert_kubernetes_unreadable_total{kind=\"pods\"} 7");
	expect(text, "culvert_kubernetes_contradictions 2");
	expect(text, "culvert_kubernetes_contradictions_total 9");
	expect(text, "culvert_kubernetes_ended_addresses 3");
	expect(text, "culvert_kubernetes_nodes_limit 500");
	expect(text, "culvert_certificates_issued_total 2");
	expect(text, "culvert_certificate_renewal_timestamp_seconds 1800000007");
	expect(text, "culvert_certificate_failure_timestamp_seconds 0");
	free(text);
}

static void texts_are_escaped(void **state)
{
	struct sample sample;
	char *text;

	(void)state;
	sample_init(&sample);
	sample.snapshot.version = "1\"2\\3\n4";
	sample.snapshot.node = NULL;
	text = print(&sample.snapshot);
	check_form(text);
	expect(text, "culvert_build_info{version=\"1\\\"2\\\\3\\n4\"} 1");
	assert_non_null(strstr(text, "culvert_config_info{node=\"\","));
	free(text);
}

static void the_series_are_the_same_however_large_the_cluster_is(void **state)
{
	static struct snapshot_peer many[500];
	struct sample sample;
	char *text;
	size_t few;

	(void)state;
	sample_init(&sample);
	text = print(&sample.snapshot);
	few = check_form(text);
	free(text);
	for (size_t i = 0; i < sizeof(many) / sizeof(many[0]); i++) {
		snprintf(many[i].name, sizeof(many[i].name), "node%zu", i);
		many[i].state = i % 2 ? "up" : "suspect";
		many[i].pair = "joined";
	}
	sample.snapshot.peers = many;
	sample.snapshot.peers_count = sizeof(many) / sizeof(many[0]);
	text = print(&sample.snapshot);
	assert_int_equal(check_form(text), few);
	expect(text, "culvert_peers{state=\"up\"} 250\nculvert_peers{state=\"suspect\"} 250");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sample_in_the_text_format),
		cmocka_unit_test(faults_show),
		cmocka_unit_test(a_cluster_has_figures_of_its_own),
		cmocka_unit_test(texts_are_escaped),
		cmocka_unit_test(the_series_are_the_same_however_large_the_cluster_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
