/* SPDX-License-Identifier: GPL-3.0-or-later */
/* enrol.h - the node's record: made once, when all works, and never changed or deleted from here.
 * A record is a Lease named after the node, owned by its Node object, so that it goes with it. While a node has none, other nodes send to it
 * and take from it in the clear: so it is made only when programs are first, the view is in sync, the certificate is good, and a tunnel to an
 * enrolled node was made, or none is enrolled yet. A record that is deleted while the daemon runs was deleted on purpose: it is not made again.
 * Logs nothing. Thread: main. */
#ifndef CULVERT_KUBE_ENROL_H
#define CULVERT_KUBE_ENROL_H

#include "kube/source.h"

struct enrol;

enum {
	ENROL_TEXT_BYTES = 640,
	ENROL_PEERS = 3, /* that are tried at a time: one of them may be down, not all */
	ENROL_TICK_MS = 500,
	ENROL_PEERS_MS = 15000, /* then others are tried */
	ENROL_POST_MS = 15000,
	ENROL_AGAIN_MS = 30000, /* the watch did not tell of the record that was made */
	ENROL_HASH_BYTES = 17,
};

enum enrol_state {
	ENROL_WAITING, /* for what text says */
	ENROL_DONE,    /* it has its record */
	ENROL_OUT,     /* on purpose: text says by what */
};

struct enrol_settings {
	const char *self, *records_namespace;
	uint16_t tunnel_port;
	uint64_t settings_hash; /* of what both ends of a tunnel must agree on */
	uint64_t seed;
};

struct enrol_ops {
	/* Is all there but the record? Else one sentence in text. */
	bool (*is_working)(void *ctx, char *text, size_t text_bytes);
	bool (*is_peer_up)(void *ctx, const char *node); /* asked while is_working says so */
	void (*want_peer)(void *ctx, uint32_t node_id);
	void (*changed)(void *ctx); /* enrol_state or its text */
};

/* source is borrowed, s is copied. 0 or -ENOMEM. */
int enrol_create(struct loop *loop, struct source *source, const struct enrol_settings *s, const struct enrol_ops *ops, void *ctx,
                 struct enrol **ret);
void enrol_destroy(struct enrol *e); /* NULL is welcome */
/* As a record says it. */
void enrol_print_hash(uint64_t settings_hash, char ret[ENROL_HASH_BYTES]);
/* Of a record that is still to be made. */
void enrol_set_settings_hash(struct enrol *e, uint64_t settings_hash);
/* The view in force; takes its own reference. */
void enrol_set_view(struct enrol *e, struct view *v);
/* *ret_text lives until the next change. */
enum enrol_state enrol_state(const struct enrol *e, const char **ret_text);

#endif
