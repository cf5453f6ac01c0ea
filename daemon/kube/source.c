/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "kube/source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	PUBLISH_DELAY_MS = 2,    /* what comes together becomes one view */
	PUBLISH_RETRY_MS = 1000, /* without memory */
	CLIENT_RETRY_MS = 5000,  /* credentials that are not mounted yet */
	PATH_BYTES = 512,
	/* A watch that is begun anew (an old API server with nothing to say looks dead, one that restarts is back in a moment) is not away. */
	AWAY_AFTER_MS = 5000,
};

/* Pods that can have an address: finished ones have left theirs, and one that is not placed has none. Node by node it is the API server that
 * leaves them out, so that they cost neither it nor us anything. */
static const char pods_selector[] =
	"fieldSelector=spec.nodeName%21%3D%2Cstatus.podIP%21%3D%2Cstatus.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed";

static const char *const kind_texts[SOURCE_KINDS] = {
	[OBJECT_NODE] = "nodes",          [OBJECT_POD] = "pods", [OBJECT_NAMESPACE] = "namespaces", [OBJECT_RECORD] = "records",
	[OBJECT_ENDPOINTS] = "endpoints",
};

struct source {
	struct loop *loop;
	struct source_ops ops;
	void *ctx;
	struct kube_client *client;
	char *kubeconfig, *account_directory, *user_agent;
	char *name_space, *records_namespace, *self;
	uint64_t seed;
	struct registry *registry;
	struct reflector *reflectors[SOURCE_KINDS];
	struct loop_timer publish, deadline, retry, away;
	size_t crowd;
	bool was_current, was_synced, is_failing;
	int64_t since_s;
	/* The two namespaces that say by their end that Culvert is taken out. */
	struct ending {
		bool is_there, is_deleting, was_there, is_listed;
	} own, records;
	/* Of default/kubernetes. */
	struct endpoint api_servers[OBJECT_ENDPOINTS_MAX];
	size_t api_servers_count;
	bool are_api_servers_listed;
	char client_error[KUBE_ERROR_BYTES], missing[SOURCE_TEXT_BYTES];
};

const char *source_kind_text(enum object_kind kind)
{
	return kind_texts[kind];
}

/* --- state --- */

static bool is_synced(const struct source *s)
{
	for (int k = 0; k < SOURCE_KINDS; k++) {
		struct reflector_state state;

		if (!s->reflectors[k])
			return false;
		reflector_state(s->reflectors[k], &state);
		if (!state.is_synced)
			return false;
	}
	return true;
}

/* The first thing that is missing, in the order in which things are needed. */
static bool find_missing(const struct source *s, char text[SOURCE_TEXT_BYTES], bool *ret_is_failing)
{
	static const enum object_kind order[SOURCE_KINDS] = { OBJECT_NODE, OBJECT_NAMESPACE, OBJECT_RECORD, OBJECT_ENDPOINTS, OBJECT_POD };

	text[0] = '\0';
	*ret_is_failing = false;
	if (!s->client) {
		*ret_is_failing = s->client_error[0] != '\0';
		(void)snprintf(text, SOURCE_TEXT_BYTES, "%s", s->client_error[0] ? s->client_error : "the API server was not asked yet");
		return true;
	}
	for (int i = 0; i < SOURCE_KINDS; i++) {
		struct reflector_state state = { 0 };

		if (s->reflectors[order[i]])
			reflector_state(s->reflectors[order[i]], &state);
		if (state.is_synced && state.is_current)
			continue;
		*ret_is_failing = state.error[0] != '\0';
		if (state.error[0])
			(void)snprintf(text, SOURCE_TEXT_BYTES, "%s: %.511s", kind_texts[order[i]], state.error);
		else
			(void)snprintf(text, SOURCE_TEXT_BYTES, "%s: %s", kind_texts[order[i]],
			               state.is_synced ? "the watch is being opened again" : "the list is being read");
		return true;
	}
	return false;
}

static void set_state(struct source *s, bool is_current, bool is_failing, const char *missing)
{
	bool is_now_synced = is_synced(s);

	if (is_current != s->was_current)
		s->since_s = time(NULL);
	if (is_current == s->was_current && is_now_synced == s->was_synced && strcmp(s->missing, missing) == 0)
		return;
	s->was_current = is_current;
	s->was_synced = is_now_synced;
	s->is_failing = is_failing;
	(void)snprintf(s->missing, sizeof(s->missing), "%s", missing);
	s->ops.state_changed(s->ctx);
}

static void on_away(struct loop_timer *t)
{
	struct source *s = container_of(t, struct source, away);
	char missing[SOURCE_TEXT_BYTES];
	bool is_failing;

	if (find_missing(s, missing, &is_failing))
		set_state(s, false, is_failing, missing);
}

static void judge_state(struct source *s)
{
	char missing[SOURCE_TEXT_BYTES];
	bool is_failing, is_missing = find_missing(s, missing, &is_failing);

	if (is_missing && s->was_current) {
		if (!s->away.heap_index)
			(void)loop_timer_set(s->loop, &s->away, instant_add_ms(loop_now(s->loop), AWAY_AFTER_MS));
		return;
	}
	loop_timer_clear(s->loop, &s->away);
	set_state(s, !is_missing, is_failing, missing);
}

void source_state(const struct source *s, struct source_state *ret)
{
	*ret = (struct source_state){
		.is_synced = s->was_synced,
		.is_current = s->was_current,
		.is_failing = s->is_failing,
		.is_self_known = registry_node(s->registry, s->self).is_known,
		.since_s = s->since_s,
		.missing = s->missing,
	};
	for (int k = 0; k < SOURCE_KINDS; k++) {
		if (s->reflectors[k])
			reflector_state(s->reflectors[k], &ret->kinds[k]);
	}
}

/* --- views --- */

static void publish_later(struct source *s, uint64_t delay_ms)
{
	if (!s->publish.heap_index)
		(void)loop_timer_set(s->loop, &s->publish, instant_add_ms(loop_now(s->loop), delay_ms));
}

static void on_publish(struct loop_timer *t)
{
	struct source *s = container_of(t, struct source, publish);
	struct instant deadline;
	struct view *v;

	/* Before all is known, what is not known yet would be refused. */
	if (!s->was_synced)
		return;
	if (registry_publish(s->registry, loop_now(s->loop), &v) < 0) {
		s->ops.refused(s->ctx, "registry", "out of memory: the last view stays in force");
		publish_later(s, PUBLISH_RETRY_MS);
		return;
	}
	/* Each node has a daemon that follows the same. */
	if (view_nodes_count(v) != s->crowd) {
		s->crowd = view_nodes_count(v);
		for (int k = 0; k < SOURCE_KINDS; k++)
			reflector_set_crowd(s->reflectors[k], (uint32_t)s->crowd);
	}
	if (registry_deadline(s->registry, &deadline))
		(void)loop_timer_set(s->loop, &s->deadline, deadline);
	/* A view without ourselves would have no edge. */
	if (view_self(v))
		s->ops.view_changed(s->ctx, v);
	view_unref(v);
}

static void on_deadline(struct loop_timer *t)
{
	publish_later(container_of(t, struct source, deadline), PUBLISH_DELAY_MS);
}

/* --- what the reflectors say --- */

static struct ending *ending_of(struct source *s, const char *name)
{
	if (strcmp(name, s->records_namespace) == 0)
		return &s->records;
	return strcmp(name, source_namespace(s)) == 0 ? &s->own : NULL;
}

static bool is_api_server(const struct object_meta *m)
{
	return strcmp(m->name_space, "default") == 0 && strcmp(m->name, "kubernetes") == 0;
}

static void set_api_servers(struct source *s, const struct endpoint *endpoints, size_t count)
{
	bool is_same = s->api_servers_count == count;

	for (size_t i = 0; is_same && i < count; i++)
		is_same = endpoint_equal(&s->api_servers[i], &endpoints[i]);
	if (is_same)
		return;
	if (count > 0)
		memcpy(s->api_servers, endpoints, count * sizeof(*endpoints));
	s->api_servers_count = count;
	s->ops.api_servers_changed(s->ctx);
}

static void on_list_began(void *ctx, enum object_kind kind)
{
	struct source *s = ctx;

	registry_list_began(s->registry, kind);
	if (kind == OBJECT_NAMESPACE)
		s->own.is_listed = s->records.is_listed = false;
	if (kind == OBJECT_ENDPOINTS)
		s->are_api_servers_listed = false;
}

static void on_put(void *ctx, const struct object *o)
{
	struct source *s = ctx;

	if (o->kind == OBJECT_NAMESPACE) {
		struct ending *e = ending_of(s, o->meta.name);

		if (e)
			*e = (struct ending){ .is_there = true, .is_deleting = o->meta.is_deleting, .was_there = true, .is_listed = true };
	}
	if (o->kind == OBJECT_ENDPOINTS && is_api_server(&o->meta)) {
		s->are_api_servers_listed = true;
		set_api_servers(s, o->endpoints.endpoints, o->endpoints.endpoints_count);
	}
	if (registry_put(s->registry, o) < 0)
		s->ops.refused(s->ctx, o->meta.name, "out of memory: this change of it is not known");
	if (registry_is_changed(s->registry))
		publish_later(s, PUBLISH_DELAY_MS);
}

static void on_gone(void *ctx, enum object_kind kind, const struct object_meta *m)
{
	struct source *s = ctx;
	struct ending *e = kind == OBJECT_NAMESPACE ? ending_of(s, m->name) : NULL;

	if (e)
		e->is_there = false;
	if (kind == OBJECT_ENDPOINTS && is_api_server(m))
		set_api_servers(s, NULL, 0);
	registry_gone(s->registry, kind, m);
	if (registry_is_changed(s->registry))
		publish_later(s, PUBLISH_DELAY_MS);
}

static void on_list_ended(void *ctx, enum object_kind kind)
{
	struct source *s = ctx;

	if (kind == OBJECT_NAMESPACE) {
		s->own.is_there &= s->own.is_listed;
		s->records.is_there &= s->records.is_listed;
	}
	if (kind == OBJECT_ENDPOINTS && !s->are_api_servers_listed)
		set_api_servers(s, NULL, 0);
	registry_list_ended(s->registry, kind);
	if (registry_is_changed(s->registry))
		publish_later(s, PUBLISH_DELAY_MS);
}

static void on_object_refused(void *ctx, enum object_kind kind, const struct object_meta *m, const char *text)
{
	struct source *s = ctx;
	struct ending *e = m && kind == OBJECT_NAMESPACE ? ending_of(s, m->name) : NULL;

	if (e)
		e->is_listed = true;
	if (m && kind == OBJECT_ENDPOINTS && is_api_server(m))
		s->are_api_servers_listed = true;
	/* It goes through on_refused to the log, and is shown for as long as it is so. */
	if (m)
		registry_keep(s->registry, kind, m, text);
	else
		s->ops.refused(s->ctx, kind_texts[kind], text);
}

static int follow(struct source *s, enum object_kind kind);

static void on_state_changed(void *ctx, enum object_kind kind)
{
	struct source *s = ctx;
	bool was_synced = s->was_synced;

	(void)kind;
	judge_state(s);
	if (!was_synced && s->was_synced) {
		publish_later(s, PUBLISH_DELAY_MS);
		return;
	}
	/* Pods last: a pod without its node, or without its namespace's word, says less than half. */
	if (!s->reflectors[OBJECT_POD]) {
		for (int k = 0; k < SOURCE_KINDS; k++) {
			struct reflector_state state;

			if (k == OBJECT_POD || !s->reflectors[k])
				continue;
			reflector_state(s->reflectors[k], &state);
			if (!state.is_synced)
				return;
		}
		if (follow(s, OBJECT_POD) < 0)
			(void)loop_timer_set(s->loop, &s->retry, instant_add_ms(loop_now(s->loop), CLIENT_RETRY_MS));
	}
}

/* --- start --- */

static int follow(struct source *s, enum object_kind kind)
{
	static const struct reflector_ops ops = {
		.list_began = on_list_began,
		.put = on_put,
		.gone = on_gone,
		.list_ended = on_list_ended,
		.state_changed = on_state_changed,
		.refused = on_object_refused,
	};
	char path[PATH_BYTES];
	struct reflector_settings settings = { .kind = kind, .path = path, .seed = s->seed + (uint64_t)kind };

	if (s->reflectors[kind])
		return 0;
	switch (kind) {
	case OBJECT_NODE:
		(void)snprintf(path, sizeof(path), "/api/v1/nodes");
		break;
	case OBJECT_POD:
		(void)snprintf(path, sizeof(path), "/api/v1/pods");
		settings.selector = pods_selector;
		break;
	case OBJECT_NAMESPACE:
		(void)snprintf(path, sizeof(path), "/api/v1/namespaces");
		/* They say that Culvert is taken out, a moment after the rights have gone. */
		settings.is_seamless = true;
		break;
	case OBJECT_ENDPOINTS:
		/* Of one name alone: there is a right to no other. */
		(void)snprintf(path, sizeof(path), "/api/v1/namespaces/default/endpoints");
		settings.selector = "fieldSelector=metadata.name%3Dkubernetes";
		break;
	default:
		(void)snprintf(path, sizeof(path), "/apis/coordination.k8s.io/v1/namespaces/%s/leases", s->records_namespace);
		/* From the store: the cache of a server that is cut off from it is behind, and a daemon that starts again and does not see a
		 * record would let that node's pairs go in the clear. They are few and small. */
		settings.page_items = REFLECTOR_PAGE_ITEMS;
		break;
	}
	return reflector_create(s->loop, s->client, &settings, &ops, s, &s->reflectors[kind]);
}

static void begin(struct source *s)
{
	struct kube_client_settings settings = { .kubeconfig = s->kubeconfig,
		                                 .service_account_directory = s->account_directory,
		                                 .user_agent = s->user_agent };
	int r = 0;

	if (!s->client)
		r = kube_client_create(s->loop, &settings, &s->client, s->client_error);
	if (r == 0) {
		s->client_error[0] = '\0';
		r = registry_set_namespace(s->registry, source_namespace(s));
	}
	if (r == 0)
		r = follow(s, OBJECT_NODE);
	if (r == 0)
		r = follow(s, OBJECT_NAMESPACE);
	if (r == 0)
		r = follow(s, OBJECT_RECORD);
	if (r == 0)
		r = follow(s, OBJECT_ENDPOINTS);
	if (r < 0)
		(void)loop_timer_set(s->loop, &s->retry, instant_add_ms(loop_now(s->loop), CLIENT_RETRY_MS));
}

static void on_retry(struct loop_timer *t)
{
	struct source *s = container_of(t, struct source, retry);

	begin(s);
	judge_state(s);
	if (s->client)
		on_state_changed(s, OBJECT_NODE);
}

static char *copy(const char *text)
{
	return text ? strdup(text) : NULL;
}

static void on_refused(void *ctx, const char *object, const char *text)
{
	struct source *s = ctx;

	s->ops.refused(s->ctx, object, text);
}

/* What no pod may say it has: Services, as the settings say, and the address by which every pod reaches the API server. */
static int reserve(const struct registry_settings *from, struct registry_settings *ret, struct prefix **ret_reserved)
{
	struct prefix *reserved = calloc(from->reserved_count + 1, sizeof(*reserved));
	const char *host = getenv("KUBERNETES_SERVICE_HOST");
	struct prefix own = { .len_bits = 128 };

	if (!reserved)
		return -ENOMEM;
	*ret = *from;
	if (from->reserved_count > 0)
		memcpy(reserved, from->reserved, from->reserved_count * sizeof(*reserved));
	if (host && addr_parse(host, &own.addr) == 0)
		reserved[ret->reserved_count++] = own;
	ret->reserved = reserved;
	*ret_reserved = reserved;
	return 0;
}

void source_set_recall(struct source *s, registry_recall_fn recall, void *ctx)
{
	registry_set_recall(s->registry, recall, ctx);
}

int source_apply(struct source *s, const struct registry_settings *settings)
{
	struct registry_settings whole;
	struct prefix *reserved;
	int r = reserve(settings, &whole, &reserved);

	if (r < 0)
		return r;
	whole.culvert_namespace = source_namespace(s);
	r = registry_apply(s->registry, &whole);
	free(reserved);
	if (r == 0)
		publish_later(s, PUBLISH_DELAY_MS);
	return r;
}

int source_create(struct loop *loop, const struct source_settings *settings, const struct source_ops *ops, void *ctx, struct source **ret)
{
	struct source *s = calloc(1, sizeof(*s));
	struct registry_settings whole;
	struct prefix *reserved = NULL;
	int r;

	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->ops = *ops;
	s->ctx = ctx;
	s->seed = settings->seed;
	s->since_s = time(NULL);
	s->publish.on_expire = on_publish;
	s->deadline.on_expire = on_deadline;
	s->retry.on_expire = on_retry;
	s->away.on_expire = on_away;
	s->kubeconfig = copy(settings->client.kubeconfig);
	s->account_directory = copy(settings->client.service_account_directory);
	s->user_agent = copy(settings->client.user_agent);
	s->name_space = copy(settings->name_space);
	s->records_namespace = copy(settings->records_namespace);
	s->self = copy(settings->registry.self);
	r = s->name_space && s->records_namespace && s->self ? reserve(&settings->registry, &whole, &reserved) : -ENOMEM;
	if (r == 0)
		r = registry_create(&whole, on_refused, s, &s->registry);
	free(reserved);
	if (r < 0) {
		source_destroy(s);
		return r;
	}
	begin(s);
	(void)find_missing(s, s->missing, &s->is_failing);
	*ret = s;
	return 0;
}

void source_destroy(struct source *s)
{
	if (!s)
		return;
	for (int k = 0; k < SOURCE_KINDS; k++)
		reflector_destroy(s->reflectors[k]);
	kube_client_destroy(s->client);
	loop_timer_clear(s->loop, &s->publish);
	loop_timer_clear(s->loop, &s->deadline);
	loop_timer_clear(s->loop, &s->retry);
	loop_timer_clear(s->loop, &s->away);
	registry_destroy(s->registry);
	free(s->kubeconfig);
	free(s->account_directory);
	free(s->user_agent);
	free(s->name_space);
	free(s->records_namespace);
	free(s->self);
	free(s);
}

struct kube_client *source_client(const struct source *s)
{
	return s->client;
}

const struct registry *source_registry(const struct source *s)
{
	return s->registry;
}

const char *source_namespace(const struct source *s)
{
	if (s->name_space[0] || !s->client)
		return s->name_space;
	return kube_client_namespace(s->client);
}

const struct endpoint *source_api_servers(const struct source *s, size_t *ret_count)
{
	*ret_count = s->api_servers_count;
	return s->api_servers;
}

static bool is_ending(const struct ending *e)
{
	return e->was_there && (!e->is_there || e->is_deleting);
}

bool source_is_ending(const struct source *s)
{
	return is_ending(&s->own) || is_ending(&s->records);
}
