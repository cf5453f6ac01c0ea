/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/review.h"

#include "base/hash.h"
#include "tunnel/admission.h"
#include "tunnel/hello.h"
#include "tunnel/pool.h"

#include <errno.h>
#include <string.h>

/* So many changed addresses are looked at one by one; where more have changed, or ranges, all streams are. */
enum { ADDRESSES_MAX = 64 };

struct changes {
	struct pool *pool;
	bool has_nodes, is_all;
	uint32_t count;
	struct addr addresses[ADDRESSES_MAX];
};

static const struct addr *remote_of(const struct stream *s)
{
	return s->role == STREAM_CLIENT_SIDE ? &s->server.addr : &s->client.addr;
}

static struct list *bucket_of(struct pool *p, const struct addr *a)
{
	return &p->review.buckets[hash_bytes(a->bytes, sizeof(a->bytes)) & (REVIEW_BUCKETS - 1)];
}

void review_init(struct pool *p)
{
	for (uint32_t i = 0; i < REVIEW_BUCKETS; i++)
		list_init(&p->review.buckets[i]);
}

void review_add(struct pool *p, struct stream *s)
{
	list_append(bucket_of(p, remote_of(s)), &s->by_remote);
}

void review_enrolled(struct pool *p)
{
	uint8_t hash[FRAME_HASH_BYTES];

	hello_hash_enrolled(p->view, &p->enrolled_count, hash);
	if (!memcmp(hash, p->enrolled_hash, sizeof(hash)))
		return;
	memcpy(p->enrolled_hash, hash, sizeof(hash));
	p->news++;
}

static int note_node(void *ctx, const struct view_node *before, const struct view_node *after)
{
	struct changes *c = ctx;
	struct pool *p = c->pool;
	struct peer *peer = before && before->id < p->peers_by_id_count ? p->peers_by_id[before->id] : NULL;

	c->has_nodes = true;
	if (peer && (!after || after->id != before->id))
		peer_destroy(peer, REASON_PEER_REMOVED);
	return 0;
}

static bool is_nobodys(const struct view_entry *entry)
{
	return !entry || entry->kind == VIEW_POD_SPACE;
}

static int note_entry(void *ctx, const struct prefix *p, const struct view_entry *before, const struct view_entry *after)
{
	struct changes *c = ctx;

	/* The pod space is judged like what is not known at all. */
	if (is_nobodys(before) && is_nobodys(after))
		return 0;
	if (p->len_bits < 128 || c->count == ADDRESSES_MAX) {
		c->is_all = true;
		return -ECANCELED;
	}
	c->addresses[c->count++] = p->addr;
	return 0;
}

/* May what is known of a have changed? */
static bool changes_concern(const struct changes *c, const struct addr *a)
{
	if (c->is_all || c->has_nodes)
		return true;
	for (uint32_t i = 0; i < c->count; i++) {
		if (!memcmp(&c->addresses[i], a, sizeof(*a)))
			return true;
	}
	return false;
}

/* An address that nobody has now may come back; one that another node has is never delivered to the new owner. */
static void review_running(struct pool *p, struct stream *s)
{
	struct view_answer answer;

	if (!s->tunnel || s->state == STREAM_JUDGING || s->state == STREAM_CLOSED)
		return;
	answer = view_lookup(p->view, remote_of(s));
	if ((answer.kind == VIEW_POD || answer.kind == VIEW_NODE) && !(answer.flags & VIEW_ENTRY_ENDING) &&
	    answer.owner->id != s->peer->node_id)
		stream_fail(s, REASON_MOVED);
}

static void review_all_running(struct pool *p, const struct changes *c)
{
	if (c->is_all) {
		list_for_each_safe(at, &p->streams)
			review_running(p, container_of(at, struct stream, all));
		return;
	}
	for (uint32_t i = 0; i < c->count; i++) {
		list_for_each_safe(at, bucket_of(p, &c->addresses[i])) {
			struct stream *s = container_of(at, struct stream, by_remote);

			if (!memcmp(remote_of(s), &c->addresses[i], sizeof(c->addresses[i])))
				review_running(p, s);
		}
	}
}

/* Moves from a list of streams that wait those that are to be judged again. Returns how many. */
static uint32_t take_concerned(struct list *from, const struct changes *c, struct list *ret)
{
	uint32_t taken = 0;

	list_for_each_safe(at, from) {
		struct stream *s = container_of(at, struct stream, place);

		if (!changes_concern(c, &s->client.addr) && !changes_concern(c, &s->server.addr))
			continue;
		list_remove(at);
		list_append(ret, at);
		taken++;
	}
	return taken;
}

/* Those that have a peer too: their server may be elsewhere now. */
static void review_waiting(struct pool *p, const struct changes *c)
{
	struct list again, *at;

	list_init(&again);
	(void)take_concerned(&p->unknown, c, &again);
	list_for_each(entry, &p->peers) {
		struct peer *peer = container_of(entry, struct peer, entry);

		peer->waiting_count -= take_concerned(&peer->waiting, c, &again);
		list_for_each(t, &peer->tunnels) {
			struct tunnel *tunnel = container_of(t, struct tunnel, entry);

			tunnel->judging_count -= take_concerned(&tunnel->judging, c, &again);
		}
	}
	while ((at = list_pop(&again))) {
		struct stream *s = container_of(at, struct stream, place);

		if (s->role == STREAM_CLIENT_SIDE)
			s->peer = NULL;
		stream_judge(s);
	}
}

static void review_peers(struct pool *p)
{
	review_enrolled(p);
	list_for_each(entry, &p->peers) {
		struct peer *peer = container_of(entry, struct peer, entry);

		peer_review_pair(peer);
		if (!pool_is_pair_enrolled(p, view_node_by_name(p->view, peer->name)))
			peer->is_wanted = false; /* what runs goes on, nothing new is made for it */
		if (peer->is_wanted)
			peer_connect(peer);
	}
}

void pool_set_view(struct pool *p, struct view *v)
{
	struct changes c = { .pool = p };
	struct view *old = p->view;

	p->view = view_ref(v);
	(void)view_diff_nodes(old, v, note_node, &c);
	(void)view_diff(old, v, note_entry, &c);
	review_all_running(p, &c);
	review_waiting(p, &c);
	if (c.has_nodes)
		review_peers(p);
	view_unref(old);
}
