/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "kubernetes.h"

#include "base/log.h"
#include "base/hash.h"
#include "edge/memory.h"
#include "kube/leave.h"
#include "reload.h"
#include "settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { VIEW_RETRY_MS = 1000, READY_TICK_MS = 1000 };

struct kubernetes {
	struct daemon *daemon;
	struct source *source;
	struct enrol *enrol;
	struct leave *leave;
	struct memory *memory;     /* NULL: nothing is there of an earlier daemon, or it is not needed any more */
	struct identity *identity; /* NULL: files are mounted, or there is no client yet */
	uint64_t seed;
	void (*left)(struct daemon *d, bool is_leaving);
	struct view *wanted; /* the last view that came */
	struct loop_timer view_retry, ready_tick;
	bool is_unenrolled;
	/* What was logged last. */
	char said[SOURCE_TEXT_BYTES], ready_said[EDGE_ERROR_BYTES];
	bool was_ready;
	struct log_limit refused_log;
	size_t nodes, enrolled; /* of the view in force */
};

/* --- views --- */

/* The same view, with this node as one that is not enrolled. */
static int without_enrolment(const struct daemon *d, struct view *v, struct view **ret)
{
	struct view_node self = *view_self(v);
	struct view_edit *e;
	uint32_t id;
	int r = view_edit_begin(v, d->config.node, &e);

	if (r)
		return r;
	self.is_enrolled = false;
	r = view_edit_put_node(e, &self, &id);
	if (r) {
		view_edit_abort(e);
		return r;
	}
	return view_edit_finish(e, ret);
}

static int stop_at_first(void *ctx, const struct view_node *before, const struct view_node *after)
{
	(void)ctx;
	(void)before;
	(void)after;
	return -ECANCELED;
}

/* Most views differ in a pod alone; then no node is looked at. */
static void say_nodes(struct kubernetes *k, const struct view *before)
{
	const struct view *v = k->daemon->view;
	size_t enrolled = 0;

	if (view_diff_nodes(before, v, stop_at_first, NULL) == 0)
		return;
	for (size_t i = 0; i < view_nodes_count(v); i++)
		enrolled += view_node_at(v, i)->is_enrolled;
	if (enrolled != k->enrolled || view_nodes_count(v) != k->nodes)
		log_info("new nodes", L_U64("nodes", view_nodes_count(v)), L_U64("enrolled", enrolled));
	k->enrolled = enrolled;
	k->nodes = view_nodes_count(v);
}

static void apply_view(struct kubernetes *k)
{
	struct daemon *d = k->daemon;
	struct view *v = NULL, *before;
	int r;

	if (!k->wanted)
		return;
	r = k->is_unenrolled ? without_enrolment(d, k->wanted, &v) : 0;
	before = d->view ? view_ref(d->view) : NULL;
	if (r == 0)
		r = reload_set_view(d, v ? v : k->wanted);
	view_unref(v);
	if (r) {
		/* What is in force stays, and the next try may find room. */
		(void)loop_timer_set(d->loop, &k->view_retry, instant_add_ms(loop_now(d->loop), VIEW_RETRY_MS));
	} else {
		enrol_set_view(k->enrol, d->view);
		say_nodes(k, before);
	}
	view_unref(before);
}

static void on_view_retry(struct loop_timer *t)
{
	apply_view(container_of(t, struct kubernetes, view_retry));
}

static const char *recall(void *ctx, const struct addr *a, bool *ret_is_own)
{
	return memory_owner(ctx, a, ret_is_own);
}

/* Before the first view is written over what the earlier daemon left. */
static void begin_to_recall(struct kubernetes *k)
{
	if (memory_open(k->daemon->pin_directory, k->daemon->config.node, &k->memory) == 0)
		source_set_recall(k->source, recall, k->memory);
}

static void end_to_recall(struct kubernetes *k)
{
	if (k->source)
		source_set_recall(k->source, NULL, NULL);
	memory_close(k->memory);
	k->memory = NULL;
}

static void on_view_changed(void *ctx, struct view *v)
{
	struct kubernetes *k = ctx;

	if (k->memory)
		end_to_recall(k);
	view_unref(k->wanted);
	k->wanted = view_ref(v);
	apply_view(k);
}

/* --- the API server --- */

_Static_assert((int)OBJECT_ENDPOINTS_MAX <= (int)CAPTURE_API_SERVERS_MAX, "all that the API says is taken");

void kubernetes_set_api_servers(struct daemon *d)
{
	size_t count = 0;
	const struct endpoint *at = d->kubernetes ? source_api_servers(d->kubernetes->source, &count) : NULL;

	(void)capture_set_api_servers(d->capture, at, count);
}

static void on_api_servers_changed(void *ctx)
{
	struct kubernetes *k = ctx;

	if (k->daemon->capture)
		kubernetes_set_api_servers(k->daemon);
}

/* --- the certificate --- */

/* As soon as there is a client. What comes is found by who watches the folder. */
static void ask_for_certificate(struct kubernetes *k)
{
	static const struct identity_ops ops = { NULL };
	struct daemon *d = k->daemon;
	struct kube_client *client = source_client(k->source);
	struct identity_settings s = {
		.node = d->config.node,
		.signer = d->config.identity.signer,
		.name_space = source_namespace(k->source),
		.directory = d->config.identity.directory,
		.seed = k->seed,
	};
	int r;

	if (k->identity || !s.signer[0] || !client || !s.name_space[0] || name_of_node(&d->name, d->config.node, &s.name))
		return;
	r = identity_create(d->loop, client, &s, &ops, k, &k->identity);
	if (r)
		log_error("no certificate can be asked for", L_ERRNO(r));
}

bool kubernetes_identity(const struct daemon *d, struct identity_state *ret)
{
	if (!d->kubernetes || !d->kubernetes->identity)
		return false;
	identity_state(d->kubernetes->identity, ret);
	return true;
}

/* --- what is said --- */

static void on_refused(void *ctx, const char *object, const char *text)
{
	struct kubernetes *k = ctx;
	uint32_t kept_back;

	if (log_limit_allow(&k->refused_log, loop_now(k->daemon->loop).ns, &kept_back))
		log_warn("refused what an object says", L_TEXT("object", object), L_TEXT("detail", text), L_U64("kept_back", kept_back));
}

static void on_source_changed(void *ctx)
{
	struct kubernetes *k = ctx;
	struct source_state state;

	if (!k->source)
		return;
	source_state(k->source, &state);
	if (strcmp(k->said, state.missing) == 0)
		return;
	if (state.is_current)
		log_info("the API server's objects are followed", L_U64("nodes", registry_counts(source_registry(k->source)).nodes),
		         L_U64("pods", registry_counts(source_registry(k->source)).pods));
	else
		LOG_AT(state.is_failing ? LOG_WARN : LOG_DEBUG,
		       state.is_synced ? "the API server is away: what is known stays in force" : "waiting for the API server",
		       L_TEXT("detail", state.missing));
	snprintf(k->said, sizeof(k->said), "%s", state.missing);
}

/* Readiness comes and goes by many things; it is said when it changes, by what is missing first. */
static void on_ready_tick(struct loop_timer *t)
{
	struct kubernetes *k = container_of(t, struct kubernetes, ready_tick);
	struct daemon *d = k->daemon;
	char text[EDGE_ERROR_BYTES] = "";
	bool is_ready;

	ask_for_certificate(k);
	is_ready = daemon_is_ready(d, text);
	if (is_ready != k->was_ready || strcmp(k->ready_said, text) != 0)
		LOG_AT(is_ready ? LOG_INFO : LOG_WARN, is_ready ? "ready" : "not ready", L_TEXT("node", d->config.node),
		       L_TEXT("version", CULVERT_VERSION), L_U64("nodes", d->view ? view_nodes_count(d->view) : 0),
		       L_U64("workers", engine_workers(d->engine)), L_TEXT("detail", text));
	k->was_ready = is_ready;
	snprintf(k->ready_said, sizeof(k->ready_said), "%s", text);
	(void)loop_timer_set(d->loop, t, instant_add_ms(loop_now(d->loop), READY_TICK_MS));
}

static bool is_working(void *ctx, char *text, size_t text_bytes)
{
	const struct kubernetes *k = ctx;
	char why[EDGE_ERROR_BYTES] = "";
	bool is = daemon_is_working(k->daemon, why);

	snprintf(text, text_bytes, "%s", why);
	return is;
}

static bool is_peer_up(void *ctx, const char *node)
{
	return capture_is_peer_up(((const struct kubernetes *)ctx)->daemon->capture, node);
}

static void want_peer(void *ctx, uint32_t node_id)
{
	engine_want_peer(((struct kubernetes *)ctx)->daemon->engine, node_id);
}

static void on_enrol_changed(void *ctx)
{
	struct kubernetes *k = ctx;
	const char *text;
	enum enrol_state state = enrol_state(k->enrol, &text);

	if (state == ENROL_DONE)
		log_info("enrolled", L_TEXT("node", k->daemon->config.node));
	else if (state == ENROL_OUT)
		log_warn("not enrolled, on purpose", L_TEXT("detail", text));
}

bool kubernetes_is_missing(const struct daemon *d, char text[EDGE_ERROR_BYTES])
{
	const struct kubernetes *k = d->kubernetes;
	struct source_state state;
	const char *why;

	source_state(k->source, &state);
	if (!state.is_synced)
		snprintf(text, EDGE_ERROR_BYTES, "%s", state.missing);
	else if (!d->view)
		snprintf(text, EDGE_ERROR_BYTES, "node %.100s is not among the cluster's %zu nodes", d->config.node,
		         registry_counts(source_registry(k->source)).nodes);
	else if (d->engine && enrol_state(k->enrol, &why) == ENROL_WAITING)
		snprintf(text, EDGE_ERROR_BYTES, "not enrolled yet: %s", why);
	else
		return false;
	return true;
}

static void fill_followed(const struct kubernetes *k, struct snapshot_cluster *ret)
{
	static struct source_state state; /* its texts are borrowed; main's thread only */

	source_state(k->source, &state);
	ret->is_synced = state.is_synced;
	ret->is_current = state.is_current;
	ret->since_s = state.since_s;
	ret->missing = state.missing;
	for (int i = 0; i < SOURCE_KINDS; i++) {
		const struct reflector_state *r = &state.kinds[i];

		ret->followed[ret->followed_count++] = (struct snapshot_followed){ .what = source_kind_text((enum object_kind)i),
			                                                           .error = r->error,
			                                                           .is_synced = r->is_synced,
			                                                           .is_current = r->is_current,
			                                                           .is_forbidden = r->is_forbidden,
			                                                           .since_s = r->since_s,
			                                                           .objects = r->objects,
			                                                           .lists = r->lists,
			                                                           .watches = r->watches,
			                                                           .events = r->events,
			                                                           .bytes = r->bytes,
			                                                           .refused = r->refused };
	}
}

static void fill_other_ports(const struct kubernetes *k, struct snapshot_cluster *ret)
{
	const struct view *v = k->daemon->view;

	for (size_t i = 0; v && i < view_nodes_count(v) && ret->other_port_count < SNAPSHOT_OTHER_PORT_MAX; i++) {
		const struct view_node *n = view_node_at(v, i);
		struct registry_node record = registry_node(source_registry(k->source), n->name);

		if (record.has_record && record.record_port && record.record_port != k->daemon->config.tunnel.port)
			ret->other_port[ret->other_port_count++] = n->name;
	}
}

/* What a node says itself is newer than its record, which nobody changes. Where our own record is of other settings than those in force, they
 * were changed since nodes were enrolled, and other records tell nothing. */
static void fill_other_settings(const struct kubernetes *k, const struct snapshot_peer *peers, size_t peers_count,
                                struct snapshot_cluster *ret)
{
	const struct registry *registry = source_registry(k->source);
	struct registry_node self = registry_node(registry, k->daemon->config.node);
	char ours[ENROL_HASH_BYTES];
	bool are_records_new;

	enrol_print_hash(settings_hash(&k->daemon->config), ours);
	are_records_new = !self.has_record || strcmp(self.record_hash, ours) == 0;
	for (size_t i = 0; i < peers_count && ret->other_settings_count < SNAPSHOT_OTHER_SETTINGS_MAX; i++) {
		const struct snapshot_peer *p = &peers[i];
		struct registry_node record = registry_node(registry, p->name);
		bool is_by_record = !p->settings_said_ns;
		bool differs = p->has_other_settings;

		if (is_by_record)
			differs = are_records_new && record.is_enrolled && record.record_hash[0] && strcmp(record.record_hash, ours) != 0;
		if (differs)
			ret->other_settings[ret->other_settings_count++] = (struct snapshot_other){ p->name, is_by_record };
	}
}

void kubernetes_snapshot(const struct daemon *d, const struct snapshot_peer *peers, size_t peers_count, struct snapshot_cluster *ret)
{
	static const char *const words[] = { [ENROL_WAITING] = "waiting", [ENROL_DONE] = "enrolled", [ENROL_OUT] = "out" };
	const struct kubernetes *k = d->kubernetes;
	struct registry_counts counts = registry_counts(source_registry(k->source));
	const struct refusals *refusals = registry_refusals(source_registry(k->source));

	*ret = (struct snapshot_cluster){
		.nodes = counts.nodes,
		.enrolled = counts.enrolled,
		.pods = counts.pods,
		.namespaces = counts.namespaces,
		.ended_addresses = counts.ended,
		.refused_total = refusals->total,
		.nodes_at_most = REGISTRY_TIER_NODES,
		.is_too_large = counts.nodes > REGISTRY_TIER_NODES,
	};
	ret->enrolment = words[enrol_state(k->enrol, &ret->enrolment_detail)];
	fill_followed(k, ret);
	fill_other_ports(k, ret);
	fill_other_settings(k, peers, peers_count, ret);
	for (size_t i = 0; i < refusals->count && i < SNAPSHOT_REFUSALS_MAX; i++)
		ret->refusals[ret->refusals_count++] = (struct snapshot_refusal){ .object = refusals->items[i].object,
			                                                          .text = refusals->items[i].text,
			                                                          .since_s = refusals->items[i].since_s };
}

/* --- the end --- */

static void on_left(void *ctx, bool is_leaving, const char *text)
{
	struct kubernetes *k = ctx;

	log_info(is_leaving ? "Culvert is taken out of this node" : "this is a restart: what is pinned stays and refuses",
	         L_TEXT("detail", text));
	k->left(k->daemon, is_leaving);
}

bool kubernetes_ask_why(struct daemon *d, void (*done)(struct daemon *d, bool is_leaving))
{
	struct kubernetes *k = d->kubernetes;
	struct leave_settings s = { .self = d->config.node, .daemonset = d->config.nodes.kubernetes.daemonset };

	if (!k || k->leave)
		return false;
	k->left = done;
	return leave_ask(d->loop, k->source, &s, on_left, k, &k->leave) == 0;
}

void kubernetes_unenrol(struct daemon *d)
{
	d->kubernetes->is_unenrolled = true;
	apply_view(d->kubernetes);
}

/* --- start --- */

static struct registry_settings registry_settings_of(const struct config *c)
{
	bool is_opt_out = c->capture.mode != CONFIG_LOCKDOWN;

	return (struct registry_settings){
		.self = c->node,
		.is_ranges_own = c->nodes.kubernetes.pod_ranges == CONFIG_RANGES_OWN,
		.is_space_opt_out_allowed = is_opt_out,
		.is_pod_opt_out_allowed = is_opt_out && c->nodes.kubernetes.allow_pod_opt_out == CONFIG_YES,
		.pod_space = c->capture.cluster_pods.items,
		.pod_space_count = c->capture.cluster_pods.count,
		.reserved = c->nodes.kubernetes.service_ranges.items,
		.reserved_count = c->nodes.kubernetes.service_ranges.count,
	};
}

void kubernetes_apply(struct daemon *d)
{
	struct registry_settings s = registry_settings_of(&d->config);
	int r = source_apply(d->kubernetes->source, &s);

	enrol_set_settings_hash(d->kubernetes->enrol, settings_hash(&d->config));
	if (r)
		log_error("the nodes do not follow the new settings", L_ERRNO(r));
}

int kubernetes_start(struct daemon *d)
{
	static const struct source_ops source_ops = { .view_changed = on_view_changed,
		                                      .refused = on_refused,
		                                      .api_servers_changed = on_api_servers_changed,
		                                      .state_changed = on_source_changed };
	static const struct enrol_ops enrol_ops = {
		.is_working = is_working, .is_peer_up = is_peer_up, .want_peer = want_peer, .changed = on_enrol_changed
	};
	const char *kubeconfig = d->config.nodes.kubernetes.kubeconfig;
	/* Different on each node, and the same after a restart: daemons that were spread stay spread. */
	uint64_t seed = hash_bytes(d->config.node, strlen(d->config.node)) ^ d->incarnation;
	struct source_settings source = {
		.client = { .kubeconfig = kubeconfig[0] ? kubeconfig : NULL, .user_agent = "culvertd/" CULVERT_VERSION },
		.name_space = d->config.nodes.kubernetes.name_space,
		.records_namespace = d->config.nodes.kubernetes.records_namespace,
		.registry = registry_settings_of(&d->config),
		.seed = seed,
	};
	struct enrol_settings enrol = {
		.self = d->config.node,
		.records_namespace = d->config.nodes.kubernetes.records_namespace,
		.tunnel_port = (uint16_t)d->config.tunnel.port,
		.settings_hash = settings_hash(&d->config),
		.seed = seed,
	};
	struct kubernetes *k = calloc(1, sizeof(*k));
	int r = -ENOMEM;

	if (!k)
		goto out;
	k->daemon = d;
	k->seed = seed;
	k->view_retry.on_expire = on_view_retry;
	k->ready_tick.on_expire = on_ready_tick;
	k->refused_log = (struct log_limit){ .interval_ns = 10 * NS_PER_S, .burst = 10 };
	d->kubernetes = k;
	r = source_create(d->loop, &source, &source_ops, k, &k->source);
	if (r == 0)
		r = enrol_create(d->loop, k->source, &enrol, &enrol_ops, k, &k->enrol);
	if (r == 0)
		r = loop_timer_set(d->loop, &k->ready_tick, instant_add_ms(loop_now(d->loop), READY_TICK_MS));
	if (r == 0) {
		begin_to_recall(k);
		ask_for_certificate(k);
		on_source_changed(k);
	}
out:
	if (r)
		log_error("the API server can not be followed", L_ERRNO(r));
	return r;
}

void kubernetes_stop(struct daemon *d)
{
	struct kubernetes *k = d->kubernetes;

	if (!k)
		return;
	identity_destroy(k->identity);
	leave_destroy(k->leave);
	enrol_destroy(k->enrol);
	end_to_recall(k);
	source_destroy(k->source);
	if (d->loop) {
		loop_timer_clear(d->loop, &k->view_retry);
		loop_timer_clear(d->loop, &k->ready_tick);
	}
	view_unref(k->wanted);
	free(k);
	d->kubernetes = NULL;
}
