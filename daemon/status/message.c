/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "status/message.h"

#include "base/delimited.h"
#include "status.pb-c.h"
#include "status/check.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- requests --- */

static int peer_get(const char *name, struct status_query *q, char error[STATUS_ERROR_BYTES])
{
	if (strlen(name) >= sizeof(q->peer)) {
		snprintf(error, STATUS_ERROR_BYTES, "peer has %zu bytes; a node's name has at most %zu", strlen(name), sizeof(q->peer) - 1);
		return -EBADMSG;
	}
	strcpy(q->peer, name);
	return 0;
}

static int streams_get(const char *peer, uint32_t limit, struct status_query *q, char error[STATUS_ERROR_BYTES])
{
	if (limit > STATUS_STREAMS_MAX) {
		snprintf(error, STATUS_ERROR_BYTES, "limit is %u; at most %d streams are told at once", limit, STATUS_STREAMS_MAX);
		return -EBADMSG;
	}
	q->limit = limit ? limit : STATUS_STREAMS_DEFAULT;
	return peer_get(peer, q, error);
}

static int query_get(const Culvert__Status__Request *pb, struct status_query *q, char error[STATUS_ERROR_BYTES])
{
	switch (pb->what_case) {
	case CULVERT__STATUS__REQUEST__WHAT_STATUS:
		q->what = STATUS_STATUS;
		return 0;
	case CULVERT__STATUS__REQUEST__WHAT_PEERS:
		q->what = STATUS_PEERS;
		return peer_get(pb->peers->peer, q, error);
	case CULVERT__STATUS__REQUEST__WHAT_STREAMS:
		q->what = STATUS_STREAMS;
		return streams_get(pb->streams->peer, pb->streams->limit, q, error);
	case CULVERT__STATUS__REQUEST__WHAT_ENDED:
		q->what = STATUS_ENDED;
		return streams_get(pb->ended->peer, pb->ended->limit, q, error);
	case CULVERT__STATUS__REQUEST__WHAT_CERTIFICATES:
		q->what = STATUS_CERTIFICATES;
		return 0;
	case CULVERT__STATUS__REQUEST__WHAT_CHECK:
		q->what = STATUS_CHECK;
		return 0;
	case CULVERT__STATUS__REQUEST__WHAT_COUNTERS:
		q->what = STATUS_COUNTERS;
		return 0;
	default:
		snprintf(error, STATUS_ERROR_BYTES, "the request asks nothing that this version knows");
		return -EBADMSG;
	}
}

int status_message_get(const uint8_t *bytes, size_t len_bytes, struct status_query *ret, char error[STATUS_ERROR_BYTES])
{
	Culvert__Status__Request *pb = culvert__status__request__unpack(NULL, len_bytes, bytes);
	struct status_query q = { .limit = STATUS_STREAMS_DEFAULT };
	int r;

	if (!pb) {
		snprintf(error, STATUS_ERROR_BYTES, "the request is no message of type culvert.status.Request");
		return -EBADMSG;
	}
	r = query_get(pb, &q, error);
	culvert__status__request__free_unpacked(pb, NULL);
	if (!r)
		*ret = q;
	return r;
}

/* --- answers: the message's tree borrows from the snapshot; what it needs beside is freed together --- */

struct scratch {
	struct block *blocks;
	bool has_failed; /* the answer is given up at its end */
};

struct block {
	struct block *next;
	_Alignas(max_align_t) uint8_t bytes[];
};

static void *scratch_alloc(struct scratch *x, size_t count, size_t size)
{
	struct block *b;

	if (size && count > (SIZE_MAX - sizeof(*b)) / size)
		b = NULL;
	else
		b = calloc(1, sizeof(*b) + count * size);
	if (!b) {
		x->has_failed = true;
		return NULL;
	}
	b->next = x->blocks;
	x->blocks = b;
	return b->bytes;
}

static void scratch_done(struct scratch *x)
{
	while (x->blocks) {
		struct block *next = x->blocks->next;

		free(x->blocks);
		x->blocks = next;
	}
}

/* Length of the UTF-8 character at p; 0: it is none, or a control character (RFC 3629). */
static size_t utf8_len(const uint8_t *p)
{
	static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;
	uint32_t c = len == 1 ? p[0] : (uint32_t)p[0] & (0x7fu >> len);

	for (size_t i = 1; i < len; i++) {
		if (p[i] >> 6 != 2)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (!len || c < ' ' || (c >= 0x7f && c < 0xa0) || c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	return len;
}

/* A field of type string must be UTF-8, or clients in other languages refuse the whole answer; control characters would reach terminals. text itself
 * where it is clean, else a copy with ? for what is not. */
static char *clean_text(struct scratch *x, const char *text)
{
	const uint8_t *p = (const uint8_t *)(text ? text : "");
	const uint8_t *bad = p;
	char *copy;
	size_t len;

	while (*bad && (len = utf8_len(bad)))
		bad += len;
	if (!*bad)
		return (char *)(uintptr_t)p; /* the library only reads what it packs */
	copy = scratch_alloc(x, strlen((const char *)p) + 1, 1);
	if (!copy)
		return (char *)(uintptr_t) "";
	for (size_t i = 0; p[i]; i += len) {
		len = utf8_len(p + i);
		if (len)
			memcpy(copy + i, p + i, len);
		else
			copy[i] = '?';
		len = len ? len : 1;
	}
	return copy;
}

/* count messages of a type, initialised, as the array of pointers that a repeated field wants. */
#define MESSAGES(scratch, count, type, init) \
	(type **)messages_make((scratch), (count), sizeof(type), (const ProtobufCMessage *)&(const type)init)
static void *messages_make(struct scratch *x, size_t count, size_t size, const ProtobufCMessage *init)
{
	void **pointers = scratch_alloc(x, count ? count : 1, sizeof(void *));
	uint8_t *messages = scratch_alloc(x, count ? count : 1, size);

	if (!pointers || !messages)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		pointers[i] = messages + i * size;
		memcpy(pointers[i], init, size);
	}
	return pointers;
}

/* The numbers of the bits that are set. */
static uint32_t *put_bits(struct scratch *x, uint64_t bits, size_t *ret_count)
{
	uint32_t *numbers = scratch_alloc(x, (size_t)__builtin_popcountll(bits) + 1, sizeof(*numbers));
	size_t count = 0;

	for (uint32_t i = 0; numbers && i < 64; i++) {
		if (bits >> i & 1)
			numbers[count++] = i;
	}
	*ret_count = count;
	return numbers;
}

static Culvert__Status__Counter **put_counters(struct scratch *x, const struct snapshot *s, size_t *ret_count)
{
	Culvert__Status__Counter **pb = MESSAGES(x, s->counters_count, Culvert__Status__Counter, CULVERT__STATUS__COUNTER__INIT);

	for (size_t i = 0; pb && i < s->counters_count; i++) {
		const struct snapshot_counter *c = &s->counters[i];

		pb[i]->name = clean_text(x, c->name);
		pb[i]->is_ingress = c->is_ingress;
		pb[i]->is_clear = c->is_clear;
		pb[i]->is_refused = c->is_refused;
		pb[i]->packets = c->packets;
		pb[i]->bytes = c->bytes;
	}
	*ret_count = pb ? s->counters_count : 0;
	return pb;
}

static Culvert__Status__Device **put_devices(struct scratch *x, const struct snapshot *s, size_t *ret_count)
{
	Culvert__Status__Device **pb = MESSAGES(x, s->devices_count, Culvert__Status__Device, CULVERT__STATUS__DEVICE__INIT);

	for (size_t i = 0; pb && i < s->devices_count; i++) {
		const struct snapshot_device *d = &s->devices[i];

		pb[i]->name = clean_text(x, d->name);
		pb[i]->ifindex = d->ifindex;
		pb[i]->is_attached = d->is_attached;
		pb[i]->is_first = d->is_first;
		pb[i]->how = clean_text(x, d->how);
		pb[i]->detail = clean_text(x, d->detail);
	}
	*ret_count = pb ? s->devices_count : 0;
	return pb;
}

static Culvert__Status__Reload **put_reloads(struct scratch *x, const struct snapshot *s, size_t *ret_count)
{
	Culvert__Status__Reload **pb = MESSAGES(x, s->reloads_count, Culvert__Status__Reload, CULVERT__STATUS__RELOAD__INIT);

	for (size_t i = 0; pb && i < s->reloads_count; i++) {
		const struct snapshot_reload *l = &s->reloads[i];

		pb[i]->what = clean_text(x, l->what);
		pb[i]->generation = l->generation;
		pb[i]->loaded_s = l->loaded_s;
		pb[i]->tried_s = l->tried_s;
		pb[i]->error = clean_text(x, l->error);
	}
	*ret_count = pb ? s->reloads_count : 0;
	return pb;
}

static Culvert__Status__Event **put_events(struct scratch *x, const struct snapshot *s, size_t *ret_count)
{
	Culvert__Status__Event **pb = MESSAGES(x, s->events_count, Culvert__Status__Event, CULVERT__STATUS__EVENT__INIT);

	for (size_t i = 0; pb && i < s->events_count; i++) {
		pb[i]->name = clean_text(x, s->events[i].name);
		pb[i]->count = s->events[i].count;
	}
	*ret_count = pb ? s->events_count : 0;
	return pb;
}

static Culvert__Status__Ended **put_ended(struct scratch *x, const struct snapshot *s, size_t *ret_count)
{
	Culvert__Status__Ended **pb = MESSAGES(x, REASON_COUNT, Culvert__Status__Ended, CULVERT__STATUS__ENDED__INIT);
	size_t count = 0;

	for (uint32_t reason = 0; pb && reason < REASON_COUNT; reason++) {
		if (!s->ended[reason])
			continue;
		pb[count]->reason = clean_text(x, reason_text(reason));
		pb[count]->streams = s->ended[reason];
		count++;
	}
	*ret_count = count;
	return pb;
}

static void put_followed(struct scratch *x, const struct snapshot_cluster *c, Culvert__Status__Cluster *pb)
{
	pb->followed = MESSAGES(x, c->followed_count, Culvert__Status__Followed, CULVERT__STATUS__FOLLOWED__INIT);
	for (size_t i = 0; pb->followed && i < c->followed_count; i++) {
		const struct snapshot_followed *f = &c->followed[i];
		Culvert__Status__Followed *to = pb->followed[pb->n_followed++];

		to->what = clean_text(x, f->what);
		to->is_synced = f->is_synced;
		to->is_current = f->is_current;
		to->is_forbidden = f->is_forbidden;
		to->since_s = f->since_s;
		to->objects = f->objects;
		to->lists = f->lists;
		to->watches = f->watches;
		to->events = f->events;
		to->bytes = f->bytes;
		to->refused = f->refused;
		to->error = clean_text(x, f->error);
	}
}

static void put_refusals(struct scratch *x, const struct snapshot_cluster *c, Culvert__Status__Cluster *pb)
{
	pb->refusals = MESSAGES(x, c->refusals_count, Culvert__Status__Refusal, CULVERT__STATUS__REFUSAL__INIT);
	for (size_t i = 0; pb->refusals && i < c->refusals_count; i++) {
		Culvert__Status__Refusal *to = pb->refusals[pb->n_refusals++];

		to->object = clean_text(x, c->refusals[i].object);
		to->text = clean_text(x, c->refusals[i].text);
		to->since_s = c->refusals[i].since_s;
	}
}

static void put_other_settings(struct scratch *x, const struct snapshot_cluster *c, Culvert__Status__Cluster *pb)
{
	pb->other_settings = scratch_alloc(x, c->other_settings_count + 1, sizeof(*pb->other_settings));
	for (size_t i = 0; pb->other_settings && i < c->other_settings_count; i++) {
		Culvert__Status__OtherSettings *o = scratch_alloc(x, 1, sizeof(*o));

		if (!o)
			return;
		culvert__status__other_settings__init(o);
		o->node = clean_text(x, c->other_settings[i].node);
		o->is_by_record = c->other_settings[i].is_by_record;
		pb->other_settings[pb->n_other_settings++] = o;
	}
}

static Culvert__Status__Cluster *put_cluster(struct scratch *x, const struct snapshot_cluster *c)
{
	Culvert__Status__Cluster *pb = c ? scratch_alloc(x, 1, sizeof(*pb)) : NULL;

	if (!pb)
		return NULL;
	culvert__status__cluster__init(pb);
	pb->is_synced = c->is_synced;
	pb->is_current = c->is_current;
	pb->since_s = c->since_s;
	pb->missing = clean_text(x, c->missing);
	pb->nodes = c->nodes;
	pb->enrolled = c->enrolled;
	pb->pods = c->pods;
	pb->namespaces = c->namespaces;
	pb->ended_addresses = c->ended_addresses;
	pb->enrolment = clean_text(x, c->enrolment);
	pb->enrolment_detail = clean_text(x, c->enrolment_detail);
	pb->refused_total = c->refused_total;
	pb->nodes_at_most = c->nodes_at_most;
	pb->is_too_large = c->is_too_large;
	put_followed(x, c, pb);
	put_refusals(x, c, pb);
	pb->other_port = scratch_alloc(x, c->other_port_count + 1, sizeof(*pb->other_port));
	for (size_t i = 0; pb->other_port && i < c->other_port_count; i++)
		pb->other_port[pb->n_other_port++] = clean_text(x, c->other_port[i]);
	put_other_settings(x, c, pb);
	return pb;
}

static void put_status(struct scratch *x, const struct snapshot *s, Culvert__Status__Status *pb)
{
	Culvert__Status__Memory *memory = scratch_alloc(x, 1, sizeof(*memory));

	if (memory) {
		culvert__status__memory__init(memory);
		memory->budget_bytes = s->budget_bytes;
		memory->granted_bytes = s->granted_bytes;
		memory->buffered_bytes = s->buffered_bytes;
	}
	pb->node = clean_text(x, s->node);
	pb->version = clean_text(x, s->version);
	pb->incarnation = s->incarnation;
	pb->uptime_s = s->uptime_s;
	pb->mode = clean_text(x, s->mode);
	pb->connect = clean_text(x, s->connect);
	pb->is_ready = s->is_ready;
	pb->reason = clean_text(x, s->reason);
	pb->is_draining = s->is_draining;
	pb->workers = s->workers;
	pb->full_workers = put_bits(x, s->full_workers, &pb->n_full_workers);
	pb->workers_busy_ms = s->workers_busy_us / 1000;
	pb->nodes = s->nodes;
	pb->nodes_enrolled = s->nodes_enrolled;
	pb->pods = s->pods;
	pb->peers_up = s->peers_up;
	pb->peers_wanted = s->peers_wanted;
	pb->streams_open = s->streams_open;
	pb->streams_total = s->streams_total;
	pb->sent_bytes = s->sent_bytes;
	pb->received_bytes = s->received_bytes;
	pb->memory = memory;
	pb->is_shared_identity = s->is_shared_identity;
	pb->certificate_not_after_s = s->certificates.not_after_s;
	pb->metrics_listen = clean_text(x, s->metrics_listen);
	pb->sealed_by = clean_text(x, s->sealed_by);
	pb->cluster = put_cluster(x, s->cluster);
	pb->ended = put_ended(x, s, &pb->n_ended);
	pb->events = put_events(x, s, &pb->n_events);
	pb->reloads = put_reloads(x, s, &pb->n_reloads);
	pb->devices = put_devices(x, s, &pb->n_devices);
	pb->counters = put_counters(x, s, &pb->n_counters);
}

static void put_addresses(struct scratch *x, const struct snapshot_peer *p, Culvert__Status__Peer *pb)
{
	size_t count = p->addresses_count < SNAPSHOT_ADDRESSES_MAX ? p->addresses_count : SNAPSHOT_ADDRESSES_MAX;
	char **pointers = scratch_alloc(x, count + 1, sizeof(*pointers));
	char *texts = scratch_alloc(x, count + 1, ADDR_TEXT_BYTES);

	if (!pointers || !texts)
		return;
	for (size_t i = 0; i < count; i++) {
		pointers[i] = texts + i * ADDR_TEXT_BYTES;
		(void)addr_print(&p->addresses[i], pointers[i]);
	}
	pb->addresses = pointers;
	pb->n_addresses = count;
}

static void put_peer(struct scratch *x, const struct snapshot_peer *p, Culvert__Status__Peer *pb)
{
	pb->name = clean_text(x, p->name);
	pb->node_id = p->node_id;
	put_addresses(x, p, pb);
	pb->is_enrolled = p->is_enrolled;
	pb->pair = clean_text(x, p->pair);
	pb->state = clean_text(x, p->state);
	pb->state_ms = p->state_ms;
	pb->retry_in_ms = p->retry_in_ms;
	pb->tls_version = clean_text(x, p->tls_version);
	pb->tls_group = clean_text(x, p->tls_group);
	pb->tls_cipher = clean_text(x, p->tls_cipher);
	pb->certificate_name = clean_text(x, p->certificate_name);
	pb->certificate_serial = clean_text(x, p->certificate_serial);
	pb->certificate_not_after_s = p->certificate_not_after_s;
	pb->tunnels = p->tunnels;
	pb->tunnel_workers = put_bits(x, p->tunnel_workers, &pb->n_tunnel_workers);
	pb->streams_open = p->streams_open;
	pb->streams_waiting = p->streams_waiting;
	pb->streams_total = p->streams_total;
	pb->sent_bytes = p->sent_bytes;
	pb->received_bytes = p->received_bytes;
	pb->rtt_us = p->rtt_us;
	pb->last_error = clean_text(x, p->last_error);
	pb->last_error_s = p->last_error_s;
	pb->incarnation = p->incarnation;
	pb->pair_there = clean_text(x, p->pair_there ? p->pair_there : "");
	pb->enrolled_there = p->enrolled_there;
	pb->is_enrolled_different = p->is_enrolled_different;
	pb->has_other_settings = p->has_other_settings;
}

static bool is_asked_for(const struct status_query *q, const char *peer)
{
	return !q->peer[0] || strcmp(q->peer, peer) == 0;
}

static void put_peers(struct scratch *x, const struct status_query *q, const struct snapshot *s, Culvert__Status__Peers *pb)
{
	pb->peers = MESSAGES(x, s->peers_count, Culvert__Status__Peer, CULVERT__STATUS__PEER__INIT);
	for (size_t i = 0; pb->peers && i < s->peers_count; i++) {
		if (is_asked_for(q, s->peers[i].name))
			put_peer(x, &s->peers[i], pb->peers[pb->n_peers++]);
	}
}

static char *link_text(bool is_bulk)
{
	return (char *)(uintptr_t)(is_bulk ? "bulk" : "light");
}

static char *role_text(bool is_client_side)
{
	return (char *)(uintptr_t)(is_client_side ? "client" : "server");
}

static char *endpoint_text(struct scratch *x, const struct endpoint *e)
{
	char *text = scratch_alloc(x, 1, ENDPOINT_TEXT_BYTES);

	if (!text)
		return (char *)(uintptr_t) "";
	(void)endpoint_print(e, text);
	return text;
}

static void put_stream(struct scratch *x, const struct snapshot_stream *t, Culvert__Status__Stream *pb)
{
	pb->id = t->id;
	pb->worker = t->worker;
	pb->client = endpoint_text(x, &t->client);
	pb->server = endpoint_text(x, &t->server);
	pb->peer = clean_text(x, t->peer);
	pb->role = role_text(t->is_client_side);
	pb->state = clean_text(x, t->state);
	pb->age_ms = t->age_ms;
	pb->sent_bytes = t->sent_bytes;
	pb->received_bytes = t->received_bytes;
	pb->sent_link = link_text(t->is_sent_bulk);
	pb->received_link = link_text(t->is_received_bulk);
	pb->window_bytes = t->window_bytes;
	pb->buffered_bytes = t->buffered_bytes;
	pb->send_room_bytes = t->send_room_bytes;
	pb->reason = clean_text(x, t->reason);
}

static void put_streams(struct scratch *x, const struct status_query *q, const struct snapshot *s, Culvert__Status__Streams *pb)
{
	size_t count = s->streams_count < q->limit ? s->streams_count : q->limit;

	pb->streams = MESSAGES(x, count, Culvert__Status__Stream, CULVERT__STATUS__STREAM__INIT);
	for (size_t i = 0; pb->streams && i < s->streams_count && pb->n_streams < count; i++) {
		if (is_asked_for(q, s->streams[i].peer))
			put_stream(x, &s->streams[i], pb->streams[pb->n_streams++]);
	}
	pb->total = s->streams_matching;
}

static void put_ended_stream(struct scratch *x, const struct snapshot_ended *e, Culvert__Status__EndedStream *pb)
{
	pb->id = e->id;
	pb->worker = e->worker;
	pb->client = endpoint_text(x, &e->client);
	pb->server = endpoint_text(x, &e->server);
	pb->peer = clean_text(x, e->peer);
	pb->role = role_text(e->is_client_side);
	pb->state = clean_text(x, e->state);
	pb->reason = clean_text(x, e->reason);
	pb->by = clean_text(x, e->by);
	pb->cause = clean_text(x, e->cause);
	pb->ended_ms = e->ended_ms;
	pb->lived_ms = e->lived_ms;
	pb->sent_bytes = e->sent_bytes;
	pb->received_bytes = e->received_bytes;
}

static void put_ended_streams(struct scratch *x, const struct status_query *q, const struct snapshot *s, Culvert__Status__EndedStreams *pb)
{
	size_t count = s->ended_count < q->limit ? s->ended_count : q->limit;

	pb->streams = MESSAGES(x, count, Culvert__Status__EndedStream, CULVERT__STATUS__ENDED_STREAM__INIT);
	for (size_t i = 0; pb->streams && i < s->ended_count && pb->n_streams < count; i++) {
		if (is_asked_for(q, s->ended_streams[i].peer))
			put_ended_stream(x, &s->ended_streams[i], pb->streams[pb->n_streams++]);
	}
	pb->total = s->streams_matching;
}

static void put_issuance(struct scratch *x, const struct snapshot_issuance *i, Culvert__Status__Certificates *pb)
{
	Culvert__Status__Issuance *issuance = scratch_alloc(x, 1, sizeof(*issuance));

	if (!issuance)
		return;
	culvert__status__issuance__init(issuance);
	issuance->signer = clean_text(x, i->signer);
	issuance->phase = clean_text(x, i->phase);
	issuance->since_s = i->since_s;
	issuance->renewal_s = i->renewal_s;
	issuance->authorities_s = i->authorities_s;
	issuance->issued = i->issued;
	issuance->request = clean_text(x, i->request);
	issuance->error = clean_text(x, i->error);
	issuance->failed_s = i->failed_s;
	pb->issuance = issuance;
}

static void put_certificates(struct scratch *x, const struct snapshot_certificates *c, Culvert__Status__Certificates *pb)
{
	size_t names_max = sizeof(c->names) / sizeof(c->names[0]), authorities_max = sizeof(c->authorities) / sizeof(c->authorities[0]);
	size_t names = c->names_count < names_max ? c->names_count : names_max;
	size_t authorities = c->authorities_count < authorities_max ? c->authorities_count : authorities_max;

	pb->names = scratch_alloc(x, names + 1, sizeof(*pb->names));
	pb->authorities = MESSAGES(x, authorities, Culvert__Status__Authority, CULVERT__STATUS__AUTHORITY__INIT);
	if (!pb->names || !pb->authorities)
		return;
	for (size_t i = 0; i < names; i++)
		pb->names[i] = clean_text(x, c->names[i]);
	for (size_t i = 0; i < authorities; i++) {
		pb->authorities[i]->subject = clean_text(x, c->authorities[i].subject);
		pb->authorities[i]->not_after_s = c->authorities[i].not_after_s;
	}
	pb->n_names = names;
	pb->n_authorities = authorities;
	pb->serial = clean_text(x, c->serial);
	pb->not_before_s = c->not_before_s;
	pb->not_after_s = c->not_after_s;
	pb->sha256 = (ProtobufCBinaryData){ .len = sizeof(c->sha256), .data = (uint8_t *)(uintptr_t)c->sha256 };
	pb->has_crl = c->has_crl;
	pb->directory = clean_text(x, c->directory);
	pb->generation = c->reload.generation;
	pb->loaded_s = c->reload.loaded_s;
	pb->tried_s = c->reload.tried_s;
	pb->error = clean_text(x, c->reload.error);
	if (c->issuance.is_there)
		put_issuance(x, &c->issuance, pb);
}

static void put_check(struct scratch *x, const struct snapshot *s, Culvert__Status__Check *pb)
{
	struct check_finding *findings = scratch_alloc(x, CHECK_COUNT, sizeof(*findings));

	pb->findings = MESSAGES(x, CHECK_COUNT, Culvert__Status__Finding, CULVERT__STATUS__FINDING__INIT);
	if (!findings || !pb->findings)
		return;
	status_check(s, findings);
	pb->is_good = true;
	for (size_t i = 0; i < CHECK_COUNT; i++) {
		pb->findings[i]->name = clean_text(x, findings[i].name);
		pb->findings[i]->is_good = findings[i].is_good;
		pb->findings[i]->text = clean_text(x, findings[i].text);
		if (!findings[i].is_good)
			pb->is_good = false;
	}
	pb->n_findings = CHECK_COUNT;
}

static int message_finish(const Culvert__Status__Response *pb, uint8_t **ret, size_t *ret_len_bytes)
{
	size_t body = culvert__status__response__get_packed_size(pb), head;
	uint8_t *bytes;

	assert(body <= UINT32_MAX);
	bytes = malloc(DELIMITED_HEAD_MAX + body);
	if (!bytes)
		return -ENOMEM;
	head = delimited_put(bytes, (uint32_t)body);
	*ret_len_bytes = head + culvert__status__response__pack(pb, bytes + head);
	*ret = bytes;
	return 0;
}

int status_message_put(const struct status_query *q, const struct snapshot *s, uint8_t **ret, size_t *ret_len_bytes)
{
	Culvert__Status__Response pb = CULVERT__STATUS__RESPONSE__INIT;
	Culvert__Status__Status status = CULVERT__STATUS__STATUS__INIT;
	Culvert__Status__Peers peers = CULVERT__STATUS__PEERS__INIT;
	Culvert__Status__Streams streams = CULVERT__STATUS__STREAMS__INIT;
	Culvert__Status__EndedStreams ended = CULVERT__STATUS__ENDED_STREAMS__INIT;
	Culvert__Status__Certificates certificates = CULVERT__STATUS__CERTIFICATES__INIT;
	Culvert__Status__Check check = CULVERT__STATUS__CHECK__INIT;
	Culvert__Status__Counters counters = CULVERT__STATUS__COUNTERS__INIT;
	struct scratch scratch = { 0 };
	int r = -ENOMEM;

	switch (q->what) {
	case STATUS_STATUS:
		put_status(&scratch, s, &status);
		pb.what_case = CULVERT__STATUS__RESPONSE__WHAT_STATUS;
		pb.status = &status;
		break;
	case STATUS_PEERS:
		put_peers(&scratch, q, s, &peers);
		pb.what_case = CULVERT__STATUS__RESPONSE__WHAT_PEERS;
		pb.peers = &peers;
		break;
	case STATUS_STREAMS:
		put_streams(&scratch, q, s, &streams);
		pb.what_case = CULVERT__STATUS__RESPONSE__WHAT_STREAMS;
		pb.streams = &streams;
		break;
	case STATUS_ENDED:
		put_ended_streams(&scratch, q, s, &ended);
		pb.what_case = CULVERT__STATUS__RESPONSE__WHAT_ENDED;
		pb.ended = &ended;
		break;
	case STATUS_CERTIFICATES:
		put_certificates(&scratch, &s->certificates, &certificates);
		pb.what_case = CULVERT__STATUS__RESPONSE__WHAT_CERTIFICATES;
		pb.certificates = &certificates;
		break;
	case STATUS_CHECK:
		put_check(&scratch, s, &check);
		pb.what_case = CULVERT__STATUS__RESPONSE__WHAT_CHECK;
		pb.check = &check;
		break;
	case STATUS_COUNTERS:
		counters.counters = put_counters(&scratch, s, &counters.n_counters);
		pb.what_case = CULVERT__STATUS__RESPONSE__WHAT_COUNTERS;
		pb.counters = &counters;
		break;
	case STATUS_WHAT_COUNT:
		break;
	}
	assert(pb.what_case != CULVERT__STATUS__RESPONSE__WHAT__NOT_SET);
	if (!scratch.has_failed)
		r = message_finish(&pb, ret, ret_len_bytes);
	scratch_done(&scratch);
	return r;
}

int status_message_put_error(const char *code, const char *text, uint8_t **ret, size_t *ret_len_bytes)
{
	Culvert__Status__Response pb = CULVERT__STATUS__RESPONSE__INIT;
	Culvert__Status__Error error = CULVERT__STATUS__ERROR__INIT;
	struct scratch scratch = { 0 };
	int r = -ENOMEM;

	error.code = clean_text(&scratch, code);
	error.text = clean_text(&scratch, text);
	pb.what_case = CULVERT__STATUS__RESPONSE__WHAT_ERROR;
	pb.error = &error;
	if (!scratch.has_failed)
		r = message_finish(&pb, ret, ret_len_bytes);
	scratch_done(&scratch);
	return r;
}
