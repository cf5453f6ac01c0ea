/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/stranger.h"

#include "tunnel/hello.h"
#include "tunnel/lanes.h"
#include "tunnel/pool.h"
#include "tunnel/turn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	STRANGERS_MAX = 256, /* handshakes under way at once */
};

static void stranger_gone(struct link *l)
{
	struct pool *p = l->owner;

	list_remove(&l->tx_entry);
	p->strangers_count--;
}

static void leaving_wake(struct link *l)
{
	(void)l;
}

static void leaving_failed(struct link *l, enum close_reason reason, const char *text)
{
	(void)l;
	(void)reason;
	(void)text;
}

/* While it is told why: where that can not be sent it would be read once more, and ended a second time. */
static const struct link_ops leaving_ops = { .wake = leaving_wake, .failed = leaving_failed };

/* Says why and closes. */
static void stranger_refuse(struct link *l, enum close_reason reason, const char *text)
{
	struct pool *p = l->owner;
	struct frame_goaway m = { .reason = (uint16_t)reason };
	uint32_t kept_back;
	uint8_t *dst = link_reserve(l);

	p->counters.handshakes_refused[reason]++;
	if (dst) {
		snprintf(m.text, sizeof(m.text), "%s", text);
		link_commit(l, frame_put_goaway(dst, &m));
		l->ops = &leaving_ops;
		(void)link_flush(l);
	}
	if (log_limit_allow(&p->accept_log, pool_now(p).ns, &kept_back))
		log_warn("refused a node's connection", L_TEXT("reason", reason_text(reason)), L_TEXT("detail", text),
		         L_U64("kept_back", kept_back));
	stranger_gone(l);
	link_destroy(l, true);
}

static void stranger_failed(struct link *l, enum close_reason reason, const char *text)
{
	struct pool *p = l->owner;
	uint32_t kept_back;

	p->counters.handshakes_refused[reason]++;
	if (log_limit_allow(&p->accept_log, pool_now(p).ns, &kept_back))
		log_warn("a node's connection failed", L_TEXT("reason", reason_text(reason)), L_TEXT("detail", text),
		         L_U64("kept_back", kept_back));
	stranger_gone(l);
	link_destroy(l, false);
}

/* The light link makes a tunnel, the bulk link belongs to one that is there. */
static bool stranger_joins(struct peer *found, struct link *l, const struct frame_hello *m)
{
	if (m->link == FRAME_LINK_LIGHT)
		return peer_takes_tunnels(found, m->incarnation) && tunnel_accept(found, l, m) == 0;
	list_for_each(at, &found->tunnels) {
		struct tunnel *t = container_of(at, struct tunnel, entry);

		if (!memcmp(t->id, m->tunnel_id, sizeof(t->id)) && t->incarnation == m->incarnation)
			return tunnel_take_bulk(t, l);
	}
	return false;
}

/* NULL: it is no peer, and the link is gone. */
static const struct view_node *stranger_node(struct link *l, const struct frame_hello *m)
{
	struct pool *p = l->owner;
	const struct view_node *node;
	char text[NAME_ERROR_BYTES] = "";

	if (p->settings->name.is_shared) {
		node = view_node_by_name(p->view, m->node);
	} else {
		node = name_find_node(&p->settings->name, link_peer(l), p->view, text);
		if (node && strcmp(node->name, m->node) != 0) {
			stranger_refuse(l, REASON_CERTIFICATE, "HELLO names another node than the certificate");
			return NULL;
		}
	}
	if (!node || node->is_self) {
		stranger_refuse(l, REASON_CERTIFICATE, text[0] ? text : "HELLO names a node that is not a peer of this one");
		return NULL;
	}
	return node;
}

/* To the worker that has its lane. */
static void stranger_move(struct link *l, const char *node, const struct frame_hello *hello)
{
	struct pool *p = l->owner;
	struct moved_link *m = malloc(sizeof(*m));

	if (!m) {
		stranger_refuse(l, REASON_NO_RESOURCES, "no memory to hand it to another worker");
		return;
	}
	stranger_gone(l);
	link_detach(l);
	*m = (struct moved_link){ .link = l, .hello = *hello };
	p->ops->move_link(p->ctx, node, hello->lane, m);
}

static void stranger_take(struct link *l, const struct view_node *node, const struct frame_hello *m)
{
	struct pool *p = l->owner;
	struct peer *found = peer_get(p, node);

	if (!found) {
		stranger_refuse(l, REASON_NO_RESOURCES, "no memory for a peer");
		return;
	}
	loop_timer_clear(l->loop, &l->deadline);
	l->kind = m->link;
	l->has_hello = true;
	stranger_gone(l);
	if (!stranger_joins(found, l, m)) {
		link_destroy(l, true);
		return;
	}
	/* Nothing was put on the link before: frames are made in the turn. */
	hello_send(p, l, m->tunnel_id, found);
	turn_link_woken(p, l);
}

static void stranger_hello(struct link *l, const struct frame_hello *m)
{
	struct pool *p = l->owner;
	const struct view_node *node = stranger_node(l, m);

	if (!node)
		return;
	if (lanes_is_here(p, node->name, m->lane))
		stranger_take(l, node, m);
	else
		stranger_move(l, node->name, m);
}

static void stranger_wake(struct link *l)
{
	enum link_result r;
	struct frame_hello m;
	struct frame f;

	while ((r = link_next_frame(l, &f)) == LINK_EMPTY) {
		if (link_receive(l, TLS_RECORD_MAX) != LINK_FRAME)
			return;
	}
	if (r == LINK_INVALID) {
		stranger_refuse(l, REASON_PROTOCOL, l->invalid);
	} else if (r == LINK_FRAME && f.type == FRAME_GOAWAY) {
		link_fail(l, REASON_CERTIFICATE, "the node that connected took itself back");
	} else if (r == LINK_FRAME && f.type != FRAME_HELLO) {
		stranger_refuse(l, REASON_PROTOCOL, "a frame before HELLO");
	} else if (r == LINK_FRAME) {
		enum frame_result decoded = frame_get_hello(&f, &m);

		if (decoded == FRAME_OK)
			stranger_hello(l, &m);
		else
			stranger_refuse(l, REASON_PROTOCOL, frame_result_text(decoded));
	}
}

static void stranger_up(struct link *l)
{
	/* The handshake's deadline goes on for HELLO: who proves a name and then says nothing does not stay. */
	(void)loop_timer_set(l->loop, &l->deadline, instant_add_ms(loop_now(l->loop), LINK_HANDSHAKE_MS));
	stranger_wake(l);
}

static const struct link_ops stranger_ops = { .up = stranger_up, .wake = stranger_wake, .failed = stranger_failed };

/* Who connected tries again. */
void strangers_close(struct pool *p)
{
	while (!list_is_empty(&p->strangers)) {
		struct link *l = container_of(p->strangers.next, struct link, tx_entry);

		stranger_gone(l);
		link_destroy(l, false);
	}
}

static void stranger_begins(struct pool *p, struct link *l)
{
	p->strangers_count++;
	list_append(&p->strangers, &l->tx_entry); /* it has nothing to send before HELLO: the entry is free for this */
}

void moved_link_destroy(struct moved_link *m)
{
	if (!m)
		return;
	link_destroy(m->link, false);
	free(m);
}

void pool_take_moved(struct pool *p, struct moved_link *m)
{
	const struct frame_hello hello = m->hello;
	struct link *l = m->link;
	const struct view_node *node;

	/* It was judged by other certificates than those in force here: who connected tries again. */
	if (p->is_draining || !link_is_of(l, p->tls) || link_attach(l, p->loop, &p->stock, &stranger_ops, p)) {
		moved_link_destroy(m);
		return;
	}
	free(m);
	stranger_begins(p, l);
	node = stranger_node(l, &hello);
	if (!node)
		return;
	/* By another view it is another node's, whose lane is elsewhere: it does not go round. */
	if (lanes_is_here(p, node->name, hello.lane))
		stranger_take(l, node, &hello);
	else
		stranger_refuse(l, REASON_CERTIFICATE, "the nodes have changed while the connection was made");
}

void pool_accept_link(struct pool *p, int fd)
{
	struct link *l;

	if (p->is_draining) {
		close(fd);
		return;
	}
	/* The oldest gives way: a node needs milliseconds, and somebody who only holds connections open must not keep nodes out. */
	if (p->strangers_count >= STRANGERS_MAX)
		stranger_failed(container_of(p->strangers.next, struct link, tx_entry), REASON_NO_RESOURCES, "too many handshakes at once");
	if (link_create(p->loop, &p->stock, p->tls, fd, false, TLS_SERVER, &stranger_ops, p, &l))
		return;
	stranger_begins(p, l);
}
