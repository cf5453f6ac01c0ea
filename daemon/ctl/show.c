/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/show.h"

#include "ctl/table.h"
#include "ctl/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

enum { LABEL_WIDTH = 14, LINE_BYTES = 1024 };

/* Foreign text on a line of its own: without what would steer the terminal. */
static void print_clean(FILE *out, const char *text)
{
	for (const char *p = text; *p; p++)
		fputc((unsigned char)*p < ' ' || *p == 0x7f ? '?' : *p, out);
}

static void line(FILE *out, const char *label, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void line(FILE *out, const char *label, const char *format, ...)
{
	char text[LINE_BYTES];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fprintf(out, "%-*s", LABEL_WIDTH, label);
	print_clean(out, text);
	fputc('\n', out);
}

static void add_bytes(struct table *t, uint64_t bytes)
{
	char text[FIGURE_BYTES];

	table_add(t, figure_bytes(bytes, text));
}

static void add_count(struct table *t, uint64_t count)
{
	char text[FIGURE_BYTES];

	table_add(t, figure_count(count, text));
}

static void add_span(struct table *t, uint64_t ms)
{
	char text[FIGURE_BYTES];

	table_add(t, figure_span(ms, text));
}

static void finish(struct table *t, FILE *out)
{
	if (t && table_rows(t))
		table_print(t, out);
	table_destroy(t);
}

/* --- status --- */

static void show_reloads(FILE *out, const Culvert__Status__Status *s, int64_t now_s)
{
	for (size_t i = 0; i < s->n_reloads; i++) {
		const Culvert__Status__Reload *l = s->reloads[i];
		char when[FIGURE_BYTES];

		if (l->error[0])
			line(out, l->what, "NOT TAKEN %s, the old ones stay: %s", figure_when(l->tried_s, now_s, when), l->error);
		else
			line(out, l->what, "loaded %s", figure_when(l->loaded_s, now_s, when));
	}
}

static void show_ended(FILE *out, const Culvert__Status__Status *s)
{
	char text[LINE_BYTES] = "";
	size_t at = 0;

	for (size_t i = 0; i < s->n_ended && at < sizeof(text); i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s %" PRIu64, i ? ", " : "", s->ended[i]->reason,
		                       s->ended[i]->streams);
	if (s->n_ended)
		line(out, "ended", "%s", text);
}

static void show_events(FILE *out, const Culvert__Status__Status *s)
{
	char text[LINE_BYTES] = "";
	size_t at = 0;

	for (size_t i = 0; i < s->n_events && at < sizeof(text); i++) {
		if (s->events[i]->count)
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s %" PRIu64, at ? ", " : "", s->events[i]->name,
			                       s->events[i]->count);
	}
	if (at)
		line(out, "events", "%s", text);
}

static void show_cluster(FILE *out, const Culvert__Status__Cluster *c, int64_t now_s)
{
	char span[FIGURE_BYTES], a[FIGURE_BYTES], b[FIGURE_BYTES];

	(void)figure_span(c->since_s && now_s > c->since_s ? (uint64_t)(now_s - c->since_s) * 1000 : 0, span);
	if (c->is_current)
		line(out, "source", "Kubernetes, followed for %s", span);
	else if (c->is_synced)
		line(out, "source", "Kubernetes, AWAY for %s, what is known stays in force: %s", span, c->missing);
	else
		line(out, "source", "Kubernetes, NOT READ YET: %s", c->missing);
	line(out, "cluster", "%" PRIu64 " nodes, %" PRIu64 " enrolled; %s pods; %s addresses kept of pods that are gone", c->nodes,
	     c->enrolled, figure_count(c->pods, a), figure_count(c->ended_addresses, b));
	line(out, "enrolment", "%s%s%s", strcmp(c->enrolment, "enrolled") == 0 ? "enrolled" : "NOT ENROLLED",
	     c->enrolment_detail[0] ? ": " : "", c->enrolment_detail);
	if (c->is_too_large)
		line(out, "size", "MORE THAN %" PRIu32 " NODES: what the API server sends to all of them grows with their square",
		     c->nodes_at_most);
	for (size_t i = 0; i < c->n_other_port; i++)
		line(out, i ? "" : "other port", "%s", c->other_port[i]);
	for (size_t i = 0; i < c->n_other_settings; i++)
		line(out, i ? "" : "other mode", "%s%s", c->other_settings[i]->node,
		     c->other_settings[i]->is_by_record ? ", when it was enrolled; it has had no tunnel with this node since" : "");
}

static void show_refusals(FILE *out, const Culvert__Status__Cluster *c, int64_t now_s)
{
	struct table *t = table_create("REFUSED SINCE WHY");
	char when[FIGURE_BYTES];

	for (size_t i = 0; t && i < c->n_refusals; i++) {
		table_add(t, c->refusals[i]->object);
		table_add(t, figure_when(c->refusals[i]->since_s, now_s, when));
		table_add(t, c->refusals[i]->text);
	}
	if (t && table_rows(t))
		fputc('\n', out);
	finish(t, out);
}

static void show_devices(FILE *out, const Culvert__Status__Status *s)
{
	struct table *t = table_create("DEVICE EDGE HOW FIRST DETAIL");

	for (size_t i = 0; t && i < s->n_devices; i++) {
		const Culvert__Status__Device *d = s->devices[i];

		table_add(t, d->name);
		table_add(t, d->is_attached ? "yes" : "no");
		table_add(t, d->how);
		table_add(t, !d->is_attached ? "" : d->is_first ? "yes" : "NO");
		table_add(t, d->detail);
	}
	if (t && table_rows(t))
		fputc('\n', out);
	finish(t, out);
}

void show_counters(FILE *out, Culvert__Status__Counter *const *counters, size_t count)
{
	struct table *t = table_create("KERNEL_COUNTED WAY AS PACKETS> BYTES>");

	for (size_t i = 0; t && i < count; i++) {
		const Culvert__Status__Counter *c = counters[i];

		/* What never occurred says nothing, but that nothing was refused or passed in the clear between enrolled pods is worth a line. */
		if (!c->packets && strcmp(c->name, "tunnel") != 0 && strcmp(c->name, "refused") != 0)
			continue;
		table_add(t, c->name);
		table_add(t, c->is_ingress ? "in" : "out");
		table_add(t, c->is_refused ? "refused" : c->is_clear ? "in the clear" : "passed");
		add_count(t, c->packets);
		add_bytes(t, c->bytes);
	}
	finish(t, out);
}

void show_status(FILE *out, const Culvert__Status__Status *s, int64_t now_s)
{
	char a[FIGURE_BYTES], b[FIGURE_BYTES], c[FIGURE_BYTES], d[FIGURE_BYTES], full[FIGURE_BYTES] = "";

	line(out, "node", "%s, culvert %s, up for %s", s->node, s->version, figure_span(s->uptime_s * 1000, a));
	line(out, "state", "%s%s%s%s", s->is_ready ? "ready" : "NOT READY", s->is_draining ? ", draining" : "", s->reason[0] ? ": " : "",
	     s->reason);
	if (s->n_full_workers)
		snprintf(full, sizeof(full), " (%zu full)", s->n_full_workers);
	line(out, "mode", "%s, connect %s, %" PRIu32 " worker%s%s%s", s->mode, s->connect, s->workers, s->workers == 1 ? "" : "s", full,
	     s->is_shared_identity ? ", ONE IDENTITY FOR ALL NODES: addresses are not proven" : "");
	line(out, "peers", "%" PRIu32 " up of %" PRIu32 " wanted", s->peers_up, s->peers_wanted);
	line(out, "nodes", "%" PRIu32 ", %" PRIu32 " enrolled; %s pods' addresses and prefixes", s->nodes, s->nodes_enrolled,
	     figure_count(s->pods, a));
	line(out, "streams", "%s open, %s since the start; sent %s, received %s", figure_count(s->streams_open, a),
	     figure_count(s->streams_total, b), figure_bytes(s->sent_bytes, c), figure_bytes(s->received_bytes, d));
	if (s->memory)
		line(out, "memory", "%s granted of %s; %s buffered", figure_bytes(s->memory->granted_bytes, a),
		     figure_bytes(s->memory->budget_bytes, b), figure_bytes(s->memory->buffered_bytes, c));
	line(out, "certificate", "%s %s (%s)", s->certificate_not_after_s > now_s ? "ends" : "ENDED",
	     figure_when(s->certificate_not_after_s, now_s, a), figure_date(s->certificate_not_after_s, b));
	if (s->sealed_by[0])
		line(out, "records", "sealed by %s", s->sealed_by);
	line(out, "metrics", "%s%s%s", s->metrics_listen[0] ? "http://" : "off", s->metrics_listen, s->metrics_listen[0] ? "/metrics" : "");
	if (s->cluster)
		show_cluster(out, s->cluster, now_s);
	show_reloads(out, s, now_s);
	show_ended(out, s);
	show_events(out, s);
	if (s->cluster)
		show_refusals(out, s->cluster, now_s);
	show_devices(out, s);
	if (s->n_counters)
		fputc('\n', out);
	show_counters(out, s->counters, s->n_counters);
}

/* --- peers --- */

static void add_addresses(struct table *t, const Culvert__Status__Peer *p)
{
	char text[LINE_BYTES] = "";
	size_t at = 0;

	for (size_t i = 0; i < p->n_addresses && at < sizeof(text); i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", i ? "," : "", p->addresses[i]);
	table_add(t, text);
}

/* Those that have its tunnels. */
static void add_workers(struct table *t, const Culvert__Status__Peer *p)
{
	char text[LINE_BYTES] = "";
	size_t at = 0;

	for (size_t i = 0; i < p->n_tunnel_workers && at < sizeof(text); i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%" PRIu32, i ? "," : "", p->tunnel_workers[i]);
	table_add(t, text);
}

static void show_traffic(FILE *out, const Culvert__Status__Peers *p)
{
	struct table *t = table_create("PEER STATE FOR PAIR ADDRESSES WORKERS RTT> STREAMS> WAITING> TOTAL> SENT> RECEIVED>");

	for (size_t i = 0; t && i < p->n_peers; i++) {
		const Culvert__Status__Peer *x = p->peers[i];
		char rtt[FIGURE_BYTES];

		table_add(t, x->name);
		table_add(t, x->state);
		if (x->state_ms)
			add_span(t, x->state_ms);
		else
			table_add(t, "");
		/* As all are where every node is enrolled; only what is not so, or not yet, is worth a word. */
		table_add(t, strcmp(x->pair, "joined") != 0 ? x->pair : "");
		add_addresses(t, x);
		add_workers(t, x);
		table_add(t, x->rtt_us ? figure_micros(x->rtt_us, rtt) : "");
		add_count(t, x->streams_open);
		add_count(t, x->streams_waiting);
		add_count(t, x->streams_total);
		add_bytes(t, x->sent_bytes);
		add_bytes(t, x->received_bytes);
	}
	finish(t, out);
}

static void show_identities(FILE *out, const Culvert__Status__Peers *p, int64_t now_s)
{
	struct table *t = table_create("PEER TLS KEY_EXCHANGE CIPHER CERTIFICATE ENDS");

	for (size_t i = 0; t && i < p->n_peers; i++) {
		const Culvert__Status__Peer *x = p->peers[i];
		char when[FIGURE_BYTES];

		if (!x->tls_version[0])
			continue;
		table_add(t, x->name);
		table_add(t, x->tls_version);
		table_add(t, x->tls_group);
		table_add(t, x->tls_cipher);
		table_add(t, x->certificate_name);
		table_add(t, x->certificate_not_after_s ? figure_when(x->certificate_not_after_s, now_s, when) : "");
	}
	if (t && table_rows(t))
		fputc('\n', out);
	finish(t, out);
}

static void show_troubles(FILE *out, const Culvert__Status__Peers *p, int64_t now_s)
{
	for (size_t i = 0; i < p->n_peers; i++) {
		const Culvert__Status__Peer *x = p->peers[i];
		char when[FIGURE_BYTES], next[FIGURE_BYTES];

		if (x->is_enrolled_different) {
			fputc('\n', out);
			print_clean(out, x->name);
			fprintf(out, ": it holds other nodes enrolled than this one does, %" PRIu32 " in all\n", x->enrolled_there);
		}
		if (x->has_other_settings) {
			fputc('\n', out);
			print_clean(out, x->name);
			fputs(": its capture.mode is another than this node's; all nodes should have the same\n", out);
		}
		if (!x->last_error[0])
			continue;
		fputc('\n', out);
		print_clean(out, x->name);
		fprintf(out, ", %s: ", figure_when(x->last_error_s, now_s, when));
		print_clean(out, x->last_error);
		if (x->retry_in_ms)
			fprintf(out, "; next try in %s", figure_span(x->retry_in_ms, next));
		fputc('\n', out);
	}
}

void show_peers(FILE *out, const Culvert__Status__Peers *p, int64_t now_s)
{
	if (!p->n_peers) {
		fputs("no peers\n", out);
		return;
	}
	show_traffic(out, p);
	show_identities(out, p, now_s);
	show_troubles(out, p, now_s);
}

/* --- streams --- */

void show_streams(FILE *out, const Culvert__Status__Streams *s)
{
	struct table *t = table_create("CLIENT SERVER PEER HERE STATE AGE> SENT> RECEIVED> LINKS WORKER> WINDOW> BUFFERED> REASON");
	char shown[FIGURE_BYTES], total[FIGURE_BYTES];

	for (size_t i = 0; t && i < s->n_streams; i++) {
		const Culvert__Status__Stream *x = s->streams[i];
		char links[FIGURE_BYTES];

		table_add(t, x->client);
		table_add(t, x->server);
		table_add(t, x->peer);
		table_add(t, x->role);
		table_add(t, x->state);
		add_span(t, x->age_ms);
		add_bytes(t, x->sent_bytes);
		add_bytes(t, x->received_bytes);
		snprintf(links, sizeof(links), "%.20s/%.20s", x->sent_link, x->received_link);
		table_add(t, links);
		add_count(t, x->worker);
		add_bytes(t, x->window_bytes);
		add_bytes(t, x->buffered_bytes);
		table_add(t, x->reason);
	}
	finish(t, out);
	if (s->n_streams < s->total)
		fprintf(out, "%s of %s streams; more with --limit\n", figure_count(s->n_streams, shown), figure_count(s->total, total));
	else if (!s->n_streams)
		fputs("no streams\n", out);
}

/* Of each reason some: so the newest first, and the reason before what the stream had carried. */
void show_ended_streams(FILE *out, const Culvert__Status__EndedStreams *s)
{
	struct table *t = table_create("AGO> REASON BY CAUSE CLIENT SERVER PEER HERE STATE LIVED> SENT> RECEIVED>");
	char shown[FIGURE_BYTES], total[FIGURE_BYTES];

	for (size_t i = 0; t && i < s->n_streams; i++) {
		const Culvert__Status__EndedStream *x = s->streams[i];

		add_span(t, x->ended_ms);
		table_add(t, x->reason);
		table_add(t, x->by);
		table_add(t, x->cause);
		table_add(t, x->client);
		table_add(t, x->server);
		table_add(t, x->peer);
		table_add(t, x->role);
		table_add(t, x->state);
		add_span(t, x->lived_ms);
		add_bytes(t, x->sent_bytes);
		add_bytes(t, x->received_bytes);
	}
	finish(t, out);
	if (s->n_streams < s->total)
		fprintf(out, "%s of %s streams; more with --limit\n", figure_count(s->n_streams, shown), figure_count(s->total, total));
	else if (!s->n_streams)
		fputs("no stream has ended\n", out);
}

/* --- certificates --- */

static void show_issuance(FILE *out, const Culvert__Status__Issuance *i, int64_t now_s)
{
	char when[FIGURE_BYTES], renewal[FIGURE_BYTES], read[FIGURE_BYTES];

	if (!i) {
		line(out, "source", "files that are mounted");
		return;
	}
	line(out, "source", "signer %s", i->signer);
	if (i->since_s)
		line(out, "issued", "%s, renewed %s", figure_when(i->since_s, now_s, when), figure_when(i->renewal_s, now_s, renewal));
	if (i->authorities_s)
		line(out, "trust read", "%s", figure_when(i->authorities_s, now_s, read));
	if (i->request[0])
		line(out, "request", "%s", i->request);
	if (i->error[0])
		line(out, "FAILED", "%s: %s", figure_when(i->failed_s, now_s, when), i->error);
}

void show_certificates(FILE *out, const Culvert__Status__Certificates *c, int64_t now_s)
{
	char when[FIGURE_BYTES], date[FIGURE_BYTES], hex[2 * 32 + 1] = "";

	for (size_t i = 0; i < c->n_names; i++)
		line(out, i ? "" : "name", "%s", c->names[i]);
	line(out, "serial", "%s", c->serial);
	for (size_t i = 0; i < c->sha256.len && i < 32; i++)
		snprintf(hex + 2 * i, 3, "%02x", c->sha256.data[i]);
	line(out, "sha256", "%s", hex);
	line(out, "valid from", "%s", figure_date(c->not_before_s, date));
	line(out, c->not_after_s > now_s ? "ends" : "ENDED", "%s (%s)", figure_when(c->not_after_s, now_s, when),
	     figure_date(c->not_after_s, date));
	for (size_t i = 0; i < c->n_authorities; i++)
		line(out, i ? "" : "authorities", "%s, %s %s", c->authorities[i]->subject,
		     c->authorities[i]->not_after_s > now_s ? "ends" : "ENDED", figure_when(c->authorities[i]->not_after_s, now_s, when));
	line(out, "revocations", "%s", c->has_crl ? "a list is in force" : "no list");
	line(out, "directory", "%s", c->directory);
	show_issuance(out, c->issuance, now_s);
	line(out, "loaded", "%s, generation %" PRIu64, figure_when(c->loaded_s, now_s, when), c->generation);
	if (c->error[0])
		line(out, "NOT TAKEN", "%s, the old ones stay: %s", figure_when(c->tried_s, now_s, when), c->error);
}

/* --- check --- */

void show_check(FILE *out, const Culvert__Status__Check *c)
{
	for (size_t i = 0; i < c->n_findings; i++) {
		const Culvert__Status__Finding *f = c->findings[i];

		fprintf(out, "%s  ", f->is_good ? "good" : "BAD ");
		line(out, f->name, "%s", f->text);
	}
}
