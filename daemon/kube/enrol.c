/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "kube/enrol.h"

#include "kube/backoff.h"
#include "kube/message.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BODY_BYTES = 2048, PATH_BYTES = 512 };

struct enrol {
	struct loop *loop;
	struct source *source;
	struct enrol_ops ops;
	void *ctx;
	char *self, *records_namespace;
	uint16_t tunnel_port;
	uint64_t settings_hash, dice;
	struct view *view;
	struct loop_timer tick;
	struct backoff backoff;
	struct kube_call *call;
	struct instant not_before; /* the next POST */
	struct instant peers_until;
	uint32_t peers[ENROL_PEERS];
	size_t peers_count;
	char recorded_uid[64]; /* the Node whose record was there once while we run */
	enum enrol_state state;
	char text[ENROL_TEXT_BYTES], failure[ENROL_TEXT_BYTES];
};

static void set_state(struct enrol *e, enum enrol_state state, const char *text)
{
	if (e->state == state && strcmp(e->text, text) == 0)
		return;
	e->state = state;
	(void)snprintf(e->text, sizeof(e->text), "%s", text);
	e->ops.changed(e->ctx);
}

enum enrol_state enrol_state(const struct enrol *e, const char **ret_text)
{
	*ret_text = e->text;
	return e->state;
}

/* --- a tunnel to somebody --- */

static bool is_candidate(const struct view_node *n)
{
	return !n->is_self && n->is_enrolled && n->addresses_count > 0;
}

static uint64_t throw_dice(struct enrol *e)
{
	e->dice = e->dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return e->dice >> 33;
}

/* Reservoir sampling: each candidate is as likely as every other. */
static void choose_peers(struct enrol *e)
{
	size_t seen = 0;

	e->peers_count = 0;
	for (size_t i = 0; i < view_nodes_count(e->view); i++) {
		const struct view_node *n = view_node_at(e->view, i);
		uint64_t place;

		if (!is_candidate(n))
			continue;
		place = seen < ENROL_PEERS ? seen : throw_dice(e) % (seen + 1);
		seen++;
		if (place < ENROL_PEERS)
			e->peers[place] = n->id;
		if (e->peers_count < ENROL_PEERS)
			e->peers_count++;
	}
	e->peers_until = instant_add_ms(loop_now(e->loop), ENROL_PEERS_MS);
	for (size_t i = 0; i < e->peers_count; i++)
		e->ops.want_peer(e->ctx, e->peers[i]);
}

static void name_peers(const struct enrol *e, char text[ENROL_TEXT_BYTES])
{
	int len = snprintf(text, ENROL_TEXT_BYTES, "no tunnel to an enrolled node could be made yet; tried are");

	for (size_t i = 0; i < e->peers_count; i++) {
		const struct view_node *n = view_node_by_id(e->view, e->peers[i]);

		if (n && len > 0 && len < ENROL_TEXT_BYTES)
			len += snprintf(text + len, (size_t)(ENROL_TEXT_BYTES - len), "%s %.100s", i > 0 ? "," : "", n->name);
	}
}

/* Can others reach us, and we them? A node whose tunnels fail would lose all its connections by being enrolled. */
static bool has_proof(struct enrol *e, char text[ENROL_TEXT_BYTES])
{
	bool is_anybody_enrolled = false;

	for (size_t i = 0; i < view_nodes_count(e->view); i++) {
		const struct view_node *n = view_node_at(e->view, i);

		if (!is_candidate(n))
			continue;
		is_anybody_enrolled = true;
		if (e->ops.is_peer_up(e->ctx, n->name))
			return true;
	}
	if (!is_anybody_enrolled)
		return true;
	if (e->peers_count == 0 || !instant_before(loop_now(e->loop), e->peers_until))
		choose_peers(e);
	name_peers(e, text);
	return false;
}

/* --- the record --- */

static void on_posted(void *ctx, const struct kube_answer *answer)
{
	struct enrol *e = ctx;
	struct instant now = loop_now(e->loop);

	e->call = NULL;
	/* 409: it is there already, as the watch will say in a moment. */
	if (answer->error == 0 && (answer->status / 100 == 2 || answer->status == 409)) {
		e->failure[0] = '\0';
		backoff_good(&e->backoff);
		e->not_before = instant_add_ms(now, ENROL_AGAIN_MS);
		return;
	}
	(void)snprintf(e->failure, sizeof(e->failure), "the node's record can not be made: %.560s", answer->text);
	e->not_before = instant_add_ms(now, answer->retry_after_ms + backoff_failed(&e->backoff));
	set_state(e, ENROL_WAITING, e->failure);
}

/* Names of nodes and UIDs need no escape in JSON: the registry took the name, and a UID with a quote in it is not written. */
static bool is_plain(const char *text)
{
	return text[strspn(text, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.")] == '\0';
}

void enrol_print_hash(uint64_t settings_hash, char ret[ENROL_HASH_BYTES])
{
	(void)snprintf(ret, ENROL_HASH_BYTES, "%016" PRIx64, settings_hash);
}

static void post(struct enrol *e, const char *uid)
{
	static const struct kube_handler handler = { .on_done = on_posted };
	char body[BODY_BYTES], path[PATH_BYTES], hash[ENROL_HASH_BYTES];
	struct kube_request request = {
		.method = "POST", .path = path, .content_type = "application/json", .body = body, .timeout_ms = ENROL_POST_MS
	};
	int r = -EINVAL;

	enrol_print_hash(e->settings_hash, hash);
	(void)snprintf(path, sizeof(path), "/apis/coordination.k8s.io/v1/namespaces/%s/leases", e->records_namespace);
	request.body_bytes = (size_t)snprintf(body, sizeof(body),
	                                      "{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"metadata\":{\"name\":\"%s\","
	                                      "\"namespace\":\"%s\",\"annotations\":{\"" MESSAGE_KEY_PORT
	                                      "\":\"%u\",\"" MESSAGE_KEY_SETTINGS
	                                      "\":\"%s\"},\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Node\","
	                                      "\"name\":\"%s\",\"uid\":\"%s\"}]},\"spec\":{\"holderIdentity\":\"%s\"}}",
	                                      e->self, e->records_namespace, (unsigned)e->tunnel_port, hash, e->self, uid, e->self);
	if (is_plain(uid) && request.body_bytes < sizeof(body))
		r = kube_send(source_client(e->source), &request, &handler, e, &e->call);
	if (r < 0) {
		e->not_before = instant_add_ms(loop_now(e->loop), ENROL_AGAIN_MS);
		(void)snprintf(e->failure, sizeof(e->failure), "the node's record can not be made: %s", strerror(-r));
		set_state(e, ENROL_WAITING, e->failure);
	}
}

/* --- what is to be done --- */

static void judge(struct enrol *e)
{
	struct registry_node node = registry_node(source_registry(e->source), e->self);
	char text[ENROL_TEXT_BYTES] = "";

	if (node.is_known && node.is_unenrolled) {
		set_state(e, ENROL_OUT, "the Node object says that this node is to stay out (" MESSAGE_KEY_ENROLLED ": \"false\")");
	} else if (node.has_record) {
		(void)snprintf(e->recorded_uid, sizeof(e->recorded_uid), "%s", node.uid);
		e->not_before = (struct instant){ 0 };
		set_state(e, ENROL_DONE, "");
	} else if (!node.is_known || !e->view) {
		set_state(e, ENROL_WAITING, "this node is not among the cluster's nodes");
	} else if (strcmp(e->recorded_uid, node.uid) == 0) {
		set_state(e, ENROL_OUT, "the node's record was deleted while the daemon runs; a restart of the daemon enrols it again");
	} else if (node.has_old_record) {
		set_state(e, ENROL_WAITING,
		          "the record of an earlier Node object of this name is still there; the garbage collector takes it");
	} else if (!e->ops.is_working(e->ctx, text, sizeof(text)) || !has_proof(e, text)) {
		set_state(e, ENROL_WAITING, text);
	} else if (!e->call && !instant_before(loop_now(e->loop), e->not_before)) {
		if (!e->failure[0])
			set_state(e, ENROL_WAITING, "the node's record is being made");
		post(e, node.uid);
	}
}

static void on_tick(struct loop_timer *t)
{
	struct enrol *e = container_of(t, struct enrol, tick);

	judge(e);
	/* What changes afterwards comes with a view. */
	if (e->state == ENROL_WAITING)
		(void)loop_timer_set(e->loop, &e->tick, instant_add_ms(loop_now(e->loop), ENROL_TICK_MS));
}

void enrol_set_settings_hash(struct enrol *e, uint64_t settings_hash)
{
	e->settings_hash = settings_hash;
}

void enrol_set_view(struct enrol *e, struct view *v)
{
	struct view *old = e->view;

	e->view = view_ref(v);
	view_unref(old);
	judge(e);
	if (e->state == ENROL_WAITING && !e->tick.heap_index)
		(void)loop_timer_set(e->loop, &e->tick, instant_add_ms(loop_now(e->loop), ENROL_TICK_MS));
}

int enrol_create(struct loop *loop, struct source *source, const struct enrol_settings *s, const struct enrol_ops *ops, void *ctx,
                 struct enrol **ret)
{
	struct enrol *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->loop = loop;
	e->source = source;
	e->ops = *ops;
	e->ctx = ctx;
	e->tunnel_port = s->tunnel_port;
	e->settings_hash = s->settings_hash;
	e->dice = s->seed;
	e->tick.on_expire = on_tick;
	e->backoff.random = s->seed;
	e->self = strdup(s->self);
	e->records_namespace = strdup(s->records_namespace);
	(void)snprintf(e->text, sizeof(e->text), "this node is not among the cluster's nodes");
	if (!e->self || !e->records_namespace) {
		enrol_destroy(e);
		return -ENOMEM;
	}
	*ret = e;
	return 0;
}

void enrol_destroy(struct enrol *e)
{
	if (!e)
		return;
	kube_cancel(e->call);
	loop_timer_clear(e->loop, &e->tick);
	view_unref(e->view);
	free(e->self);
	free(e->records_namespace);
	free(e);
}
