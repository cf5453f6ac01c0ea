/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "status/metrics.h"

#include "cluster/pair.h"

#include <inttypes.h>
#include <string.h>

/* One label of a sample. */
struct label {
	const char *name, *text;
};

#define NO_LABELS   ((const struct label[]){ { NULL, NULL } })
#define LABELS(...) ((const struct label[]){ __VA_ARGS__, { NULL, NULL } })

static void print_escaped(FILE *out, const char *text)
{
	for (; text && *text; text++) {
		if (*text == '\\' || *text == '"')
			fputc('\\', out);
		if (*text == '\n')
			fputs("\\n", out);
		else
			fputc(*text, out);
	}
}

static void begin(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* labels ends with a name of NULL. */
static void print_name(FILE *out, const char *name, const struct label *labels)
{
	fputs(name, out);
	for (const struct label *l = labels; l->name; l++) {
		fprintf(out, "%s%s=\"", l == labels ? "{" : ",", l->name);
		print_escaped(out, l->text);
		fputc('"', out);
	}
	fputs(labels->name ? "} " : " ", out);
}

static void sample(FILE *out, const char *name, const struct label *labels, uint64_t value)
{
	print_name(out, name, labels);
	fprintf(out, "%" PRIu64 "\n", value);
}

static void gauge(FILE *out, const char *name, const char *help, uint64_t value)
{
	begin(out, name, "gauge", help);
	sample(out, name, NO_LABELS, value);
}

static void counter(FILE *out, const char *name, const char *help, uint64_t value)
{
	begin(out, name, "counter", help);
	sample(out, name, NO_LABELS, value);
}

static void print_seconds(FILE *out, uint64_t us)
{
	fprintf(out, "%" PRIu64 ".%06" PRIu64 "\n", us / 1000000, us % 1000000);
}

/* --- what it is --- */

static void print_daemon(FILE *out, const struct snapshot *s)
{
	begin(out, "culvert_build_info", "gauge", "The running build; always 1.");
	sample(out, "culvert_build_info", LABELS({ "version", s->version }), 1);
	begin(out, "culvert_config_info", "gauge",
	      "How this node is set up; always 1. identity \"shared\": one name for all nodes, so that an address proves nothing about its node.");
	sample(out, "culvert_config_info",
	       LABELS({ "node", s->node }, { "mode", s->mode }, { "connect", s->connect },
	              { "identity", s->is_shared_identity ? "shared" : "node" }),
	       1);
	gauge(out, "culvert_ready", "1: the daemon carries traffic as its mode promises. /readyz says why not.", s->is_ready);
	gauge(out, "culvert_draining", "1: the daemon was told to end and takes no new streams.", s->is_draining);
	gauge(out, "culvert_workers", "Worker threads.", s->workers);
	gauge(out, "culvert_workers_full", "Worker threads that have had no time left in the last second.",
	      (uint64_t)__builtin_popcountll(s->full_workers));
	begin(out, "culvert_workers_busy_seconds_total", "counter", "How long all worker threads together did not wait for work.");
	print_name(out, "culvert_workers_busy_seconds_total", NO_LABELS);
	print_seconds(out, s->workers_busy_us);
	gauge(out, "culvert_nodes", "Nodes that are known, this one among them.", s->nodes);
	gauge(out, "culvert_nodes_enrolled", "Nodes that are enrolled, this one among them.", s->nodes_enrolled);
	gauge(out, "culvert_pod_prefixes", "Prefixes and addresses that are known to be some node's pods.", s->pods);
}

/* --- tunnels --- */

static void print_reasons(FILE *out, const char *name, const char *help, const uint64_t counts[REASON_COUNT])
{
	begin(out, name, "counter", help);
	/* Those that never occurred too: the first one of a reason must be a growth, not a new series. */
	for (uint32_t i = 0; i < REASON_COUNT; i++)
		sample(out, name, LABELS({ "reason", reason_text(i) }), counts[i]);
}

static void print_states(FILE *out, const char *name, const char *help, const struct snapshot_event *states, size_t count)
{
	begin(out, name, "gauge", help);
	for (size_t i = 0; i < count; i++)
		sample(out, name, LABELS({ "state", states[i].name }), states[i].count);
}

static void print_peers(FILE *out, const struct snapshot *s)
{
	struct snapshot_event states[] = { { "none", 0 }, { "connecting", 0 }, { "up", 0 }, { "suspect", 0 }, { "draining", 0 } };
	const size_t count = sizeof(states) / sizeof(states[0]);

	for (size_t p = 0; p < s->peers_count; p++) {
		for (size_t i = 0; i < count; i++)
			states[i].count += strcmp(states[i].name, s->peers[p].state) == 0;
	}
	print_states(out, "culvert_peers",
	             "Other nodes by the state of their tunnel. none: no tunnel is wanted. suspect: it does not answer, new streams wait.",
	             states, count);
}

static void print_pairs(FILE *out, const struct snapshot *s)
{
	static const char *const names[PAIR_STATE_COUNT] = {
		[PAIR_NOT_ENROLLED] = "not_enrolled",
		[PAIR_JOINING] = "joining",
		[PAIR_JOINED] = "joined",
	};

	begin(out, "culvert_pairs", "gauge",
	      "Other nodes by what holds of this node and them. joined: no new connection between their pods leaves in the clear.");
	for (int i = 0; i < PAIR_STATE_COUNT; i++) {
		uint64_t count = 0;

		for (size_t p = 0; p < s->peers_count; p++)
			count += s->peers[p].pair && strcmp(s->peers[p].pair, pair_state_text((enum pair_state)i)) == 0;
		sample(out, "culvert_pairs", LABELS({ "state", names[i] }), count);
	}
}

static uint64_t event(const struct snapshot *s, const char *name)
{
	for (size_t i = 0; i < s->events_count; i++) {
		if (strcmp(s->events[i].name, name) == 0)
			return s->events[i].count;
	}
	return 0;
}

static void print_tunnels(FILE *out, const struct snapshot *s)
{
	print_peers(out, s);
	print_pairs(out, s);
	print_states(out, "culvert_tunnels", "Tunnels by state; a node can have several.", s->tunnels, s->tunnels_count);
	counter(out, "culvert_tunnels_opened_total", "Tunnels that came up, whoever made them: handshakes that both ends completed.",
	        event(s, "tunnels_opened"));
	print_reasons(out, "culvert_tunnels_failed_total", "Tunnels that this node tried to make in vain, by reason.", s->tunnels_failed);
	print_reasons(out, "culvert_handshakes_refused_total",
	              "Connections from others to the tunnel port that did not become one, by reason.", s->handshakes_refused);
	counter(out, "culvert_accept_pauses_total", "Times that accepting paused because descriptors or memory were used up.",
	        event(s, "accept_pauses"));
	counter(out, "culvert_syns_held_total",
	        "Pods' connections that waited until the other side had connected (capture.connect: faithful).", event(s, "syns_held"));
	counter(out, "culvert_syns_unheld_total",
	        "Pods' connections that were let in at once, because too many of the same pod, or of all, waited already.",
	        event(s, "syns_unheld"));
	counter(out, "culvert_pods_silent_total",
	        "Streams whose pod on this node did not answer any more, each time that one began to be silent.", event(s, "pods_silent"));
	counter(out, "culvert_flows_unsilenced_total",
	        "Streams whose other pod does not answer and whose own pod can not find that out, because too many are so already.",
	        event(s, "flows_unsilenced"));
	counter(out, "culvert_foreign_claims_total",
	        "Streams that a node tried to open under an address that is another node's pod: a security event.",
	        event(s, "foreign_claims"));
}

/* --- streams --- */

static void print_streams(FILE *out, const struct snapshot *s)
{
	print_states(out, "culvert_streams", "Streams (TCP connections of pods) by state.", s->stream_states, s->stream_states_count);
	begin(out, "culvert_streams_opened_total", "counter", "Streams that began, by the pod that is on this node.");
	sample(out, "culvert_streams_opened_total", LABELS({ "role", "client" }), event(s, "accepted"));
	sample(out, "culvert_streams_opened_total", LABELS({ "role", "server" }), event(s, "requested"));
	print_reasons(out, "culvert_streams_ended_total",
	              "Streams that ended, by reason. finished, pod_reset and refused are the pods' own doing.", s->ended);
	counter(out, "culvert_sent_bytes_total", "Payload of streams from this node's pods to other nodes.", s->sent_bytes);
	counter(out, "culvert_received_bytes_total", "Payload of streams from other nodes to this node's pods.", s->received_bytes);
	gauge(out, "culvert_memory_limit_bytes", "The setting tunnel.memory: credit that may be granted to all streams together.",
	      s->budget_bytes);
	gauge(out, "culvert_memory_granted_bytes",
	      "Credit that is granted: what peers could make the daemon hold. At the limit new streams are refused.", s->granted_bytes);
	gauge(out, "culvert_memory_buffered_bytes", "What lies in the daemon because pods do not take it.", s->buffered_bytes);
}

/* --- what is read from files --- */

static uint64_t time_of(int64_t unix_s)
{
	return unix_s > 0 ? (uint64_t)unix_s : 0;
}

static void print_certificates(FILE *out, const struct snapshot *s)
{
	const struct snapshot_certificates *c = &s->certificates;
	int64_t earliest_s = c->authorities_count ? c->authorities[0].not_after_s : 0;

	for (size_t i = 1; i < c->authorities_count; i++)
		earliest_s = c->authorities[i].not_after_s < earliest_s ? c->authorities[i].not_after_s : earliest_s;
	gauge(out, "culvert_certificate_expiry_timestamp_seconds",
	      "End of this node's certificate, or of the earliest in its chain; Unix time.", time_of(c->not_after_s));
	gauge(out, "culvert_authorities", "Authorities that other nodes' certificates are judged by.", c->authorities_count);
	gauge(out, "culvert_authority_expiry_timestamp_seconds", "End of the authority that ends first; Unix time.", time_of(earliest_s));
	gauge(out, "culvert_crl_loaded", "1: a revocation list is in force.", c->has_crl);
	if (!c->issuance.is_there)
		return;
	counter(out, "culvert_certificates_issued_total", "Certificates that the cluster issued to this node since the start.",
	        c->issuance.issued);
	gauge(out, "culvert_certificate_renewal_timestamp_seconds", "When the next certificate is asked for; Unix time.",
	      time_of(c->issuance.renewal_s));
	gauge(out, "culvert_certificate_failure_timestamp_seconds", "When asking for one failed last; Unix time, 0: it did not.",
	      time_of(c->issuance.failed_s));
}

static void print_reloads(FILE *out, const struct snapshot *s)
{
	static const struct {
		const char *name, *type, *help;
	} families[] = {
		{ "culvert_reloads_total", "counter", "Good loads of settings, nodes and certificates." },
		{ "culvert_reload_failures_total", "counter", "Loads that were refused: the old ones stay." },
		{ "culvert_reload_successful", "gauge", "1: the last load was good. 0: what runs is older than what is written." },
		{ "culvert_reload_timestamp_seconds", "gauge", "When what is in force was loaded; Unix time." },
	};

	for (size_t f = 0; f < sizeof(families) / sizeof(families[0]); f++) {
		begin(out, families[f].name, families[f].type, families[f].help);
		for (size_t i = 0; i < s->reloads_count; i++) {
			const struct snapshot_reload *r = &s->reloads[i];
			const uint64_t values[] = { r->generation, r->failures, !r->error || !r->error[0], time_of(r->loaded_s) };

			sample(out, families[f].name, LABELS({ "what", r->what }), values[f]);
		}
	}
}

/* --- the cluster's API --- */

static void print_followed(FILE *out, const struct snapshot_cluster *c)
{
	static const struct {
		const char *name, *type, *help;
	} families[] = {
		{ "culvert_kubernetes_following", "gauge", "1: the list was read whole and what changes since is followed." },
		{ "culvert_kubernetes_forbidden", "gauge", "1: the API server said that a right is missing." },
		{ "culvert_kubernetes_objects", "gauge", "Objects in the last list." },
		{ "culvert_kubernetes_lists_total", "counter", "Lists that were begun." },
		{ "culvert_kubernetes_watches_total", "counter", "Watches that were begun." },
		{ "culvert_kubernetes_events_total", "counter", "Events that came by watches." },
		{ "culvert_kubernetes_received_bytes_total", "counter", "Bytes that came by lists and watches." },
		{ "culvert_kubernetes_unreadable_total", "counter", "Objects that could not be taken at all." },
	};

	for (size_t f = 0; f < sizeof(families) / sizeof(families[0]); f++) {
		begin(out, families[f].name, families[f].type, families[f].help);
		for (size_t i = 0; i < c->followed_count; i++) {
			const struct snapshot_followed *x = &c->followed[i];
			const uint64_t values[] = { x->is_current, x->is_forbidden, x->objects, x->lists,
				                    x->watches,    x->events,       x->bytes,   x->refused };

			sample(out, families[f].name, LABELS({ "kind", x->what }), values[f]);
		}
	}
}

static void print_cluster(FILE *out, const struct snapshot_cluster *c)
{
	if (!c)
		return;
	gauge(out, "culvert_kubernetes_current", "1: everything in the API is followed. 0: what was known stays in force.", c->is_current);
	gauge(out, "culvert_kubernetes_current_timestamp_seconds", "Since when culvert_kubernetes_current is as it is; Unix time.",
	      time_of(c->since_s));
	gauge(out, "culvert_enrolled", "1: this node is enrolled.", c->enrolment && strcmp(c->enrolment, "enrolled") == 0);
	print_followed(out, c);
	gauge(out, "culvert_kubernetes_contradictions", "What objects say now and is not taken, 64 at most; culvertctl status names them.",
	      c->refusals_count);
	counter(out, "culvert_kubernetes_contradictions_total", "What objects said since the start and was not taken.", c->refused_total);
	gauge(out, "culvert_kubernetes_ended_addresses",
	      "Addresses of enrolled pods that are gone, refused in the clear for 10 minutes or until another pod has them.",
	      c->ended_addresses);
	gauge(out, "culvert_kubernetes_nodes_limit", "So many nodes may follow all pods by themselves.", c->nodes_at_most);
}

/* --- the kernel --- */

static void print_counters(FILE *out, const struct snapshot *s, const char *name, const char *help, bool is_bytes)
{
	begin(out, name, "counter", help);
	for (size_t i = 0; i < s->counters_count; i++) {
		const struct snapshot_counter *c = &s->counters[i];

		sample(out, name,
		       LABELS({ "class", c->name }, { "direction", c->is_ingress ? "ingress" : "egress" },
		              { "verdict", c->is_refused ? "refused"
		                           : c->is_clear ? "clear"
		                                         : "passed" }),
		       is_bytes ? c->bytes : c->packets);
	}
}

static void print_kernel(FILE *out, const struct snapshot *s)
{
	uint64_t first = 0, behind = 0, other = 0;

	for (size_t i = 0; i < s->devices_count; i++) {
		const struct snapshot_device *d = &s->devices[i];

		first += d->is_attached && d->is_first;
		behind += d->is_attached && !d->is_first;
		other += !d->is_attached;
	}
	begin(out, "culvert_devices", "gauge",
	      "The node's devices. first: an edge, our programs run before all others. behind: another program could lead past us. not_edge: not ours.");
	sample(out, "culvert_devices", LABELS({ "state", "first" }), first);
	sample(out, "culvert_devices", LABELS({ "state", "behind" }), behind);
	sample(out, "culvert_devices", LABELS({ "state", "not_edge" }), other);
	print_counters(out, s, "culvert_kernel_packets_total",
	               "Packets at the node's edge since the programs were first loaded. verdict clear: left or arrived unencrypted by us.",
	               false);
	print_counters(out, s, "culvert_kernel_bytes_total", "The bytes of these packets, with their headers.", true);
}

static void print_process(FILE *out, const struct snapshot *s)
{
	const struct snapshot_process *p = &s->process;

	begin(out, "process_cpu_seconds_total", "counter", "Processor time of the daemon, user and system.");
	print_name(out, "process_cpu_seconds_total", NO_LABELS);
	print_seconds(out, p->cpu_us);
	gauge(out, "process_resident_memory_bytes", "Memory of the daemon.", p->resident_bytes);
	gauge(out, "process_open_fds", "File descriptors that are open; 0 where the kernel does not tell (before Linux 6.2).", p->open_fds);
	gauge(out, "process_max_fds", "File descriptors that may be open.", p->max_fds);
	gauge(out, "process_start_time_seconds", "When the daemon started; Unix time.", time_of(s->now_s - (int64_t)s->uptime_s));
}

void metrics_print(const struct snapshot *s, FILE *out)
{
	print_daemon(out, s);
	print_tunnels(out, s);
	print_streams(out, s);
	print_certificates(out, s);
	print_reloads(out, s);
	print_cluster(out, s->cluster);
	print_kernel(out, s);
	print_process(out, s);
}
