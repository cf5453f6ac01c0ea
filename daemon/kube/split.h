/* SPDX-License-Identifier: GPL-3.0-or-later */
/* split.h - the streamed answers of the Kubernetes API cut into objects, however the bytes arrive: a list item by item, a watch event by
 * event. Holds no more than the one object that has not arrived whole. Knows the envelopes around objects, and nothing of the objects.
 *   list:  "k8s" NUL, runtime.Unknown { 1: TypeMeta { 1: apiVersion, 2: kind }, 2: list { 1: ListMeta, 2: item, 2: item ... } }
 *   watch: { length of 4 bytes, big-endian; WatchEvent { 1: type, 2: RawExtension { 1: "k8s" NUL, runtime.Unknown } } } ...
 * Thread: one. */
#ifndef CULVERT_KUBE_SPLIT_H
#define CULVERT_KUBE_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	/* The API server's store takes objects of 1.5 MiB. What is larger is skipped, and said. */
	SPLIT_OBJECT_MAX_BYTES = 2 << 20,
	SPLIT_SMALL_MAX_BYTES = 64 << 10, /* TypeMeta and ListMeta, which holds a token of some hundred bytes */
	SPLIT_ERROR_BYTES = 256,
};

/* Bytes that lie in the caller's input or in the splitter, and stay there for the length of one call. */
struct split_span {
	const uint8_t *bytes;
	size_t len_bytes;
};

/* What surrounds each object that does not stand in a list. */
struct split_envelope {
	struct split_span api_version, kind; /* "v1", "Pod" */
	struct split_span object;            /* its message */
};

/* 0, or -EBADMSG. The spans point into bytes. */
int split_envelope(const void *bytes, size_t len_bytes, struct split_envelope *ret);
bool split_span_is(struct split_span s, const char *text);

struct split_buffer {
	uint8_t *bytes;
	size_t len, cap, need;
};

struct list_split_ops {
	/* The metadata comes before the items. False from either ends it with -ECANCELED. */
	bool (*meta)(void *ctx, struct split_span list_meta);
	bool (*item)(void *ctx, struct split_span object);
	void (*refused)(void *ctx, const char *text); /* an item that is too large was skipped */
};

struct list_split {
	const struct list_split_ops *ops;
	void *ctx;
	const char *kind; /* "PodList"; borrowed */
	enum { LIST_MAGIC, LIST_TAG, LIST_LENGTH, LIST_VARINT, LIST_SKIP, LIST_GATHER } state;
	enum { LIST_OTHER, LIST_TYPE, LIST_META, LIST_ITEM } part; /* what is gathered or skipped */
	bool is_inside;                                            /* the list's own message, else what surrounds it */
	bool has_type, has_list;
	unsigned magic_bytes, varint_bytes;
	uint32_t number;
	uint64_t varint, skip_bytes;
	uint64_t inside_left; /* of the list's message */
	uint64_t items;
	struct split_buffer buffer;
	char error[SPLIT_ERROR_BYTES]; /* why list_split_feed or list_split_end refused */
};

void list_split_init(struct list_split *s, const char *kind, const struct list_split_ops *ops, void *ctx);
void list_split_done(struct list_split *s);
/* The next bytes. 0; -EBADMSG with s->error, -ENOMEM or -ECANCELED: it is over. */
int list_split_feed(struct list_split *s, const void *bytes, size_t len_bytes);
/* There are no more. 0, or -EBADMSG with s->error where something is missing. */
int list_split_end(struct list_split *s);

enum watch_event { WATCH_ADDED, WATCH_MODIFIED, WATCH_DELETED, WATCH_BOOKMARK, WATCH_ERROR, WATCH_EVENTS };

struct watch_split_ops {
	/* WATCH_ERROR has a Status. False ends it with -ECANCELED. */
	bool (*event)(void *ctx, enum watch_event type, const struct split_envelope *object);
	void (*refused)(void *ctx, const char *text); /* an event that is too large was skipped */
};

struct watch_split {
	const struct watch_split_ops *ops;
	void *ctx;
	uint8_t head[4];
	unsigned head_bytes;
	uint64_t skip_bytes;
	bool is_gathering;
	struct split_buffer buffer;
	char error[SPLIT_ERROR_BYTES];
};

void watch_split_init(struct watch_split *s, const struct watch_split_ops *ops, void *ctx);
void watch_split_done(struct watch_split *s);
int watch_split_feed(struct watch_split *s, const void *bytes, size_t len_bytes); /* as list_split_feed */
bool watch_split_is_between(const struct watch_split *s);                         /* no event has begun that is not whole */

#endif
