/* SPDX-License-Identifier: GPL-3.0-or-later */
/* message.h - objects of the Kubernetes API from their protobuf bytes to plain data. The messages are those of proto/kube.proto; no
 * generated type leaves this module. What it returns lies in the decoder until its next call. Thread: one at a time. */
#ifndef CULVERT_KUBE_MESSAGE_H
#define CULVERT_KUBE_MESSAGE_H

#include "cluster/object.h"

#include <stddef.h>
#include <stdint.h>

struct message;

enum {
	MESSAGE_FAULTS_MAX = 8, /* of one object; more say nothing new */
	MESSAGE_ERROR_BYTES = 256,
	MESSAGE_NAME_BYTES = 256, /* a name has 253, a UID and a version have less */
};

/* The names by which Culvert's own labels and annotations go. */
#define MESSAGE_KEY_MODE     "culvert.dev/mode"     /* of namespaces (label) and pods (annotation): "disabled" */
#define MESSAGE_KEY_ENROLLED "culvert.dev/enrolled" /* annotation of nodes: "false" */
#define MESSAGE_KEY_PORT     "culvert.dev/port"     /* annotations of records */
#define MESSAGE_KEY_SETTINGS "culvert.dev/settings"

/* The kind's name in the API: "Pod", and "PodList" for lists. */
const char *message_kind_name(enum object_kind kind);
const char *message_list_name(enum object_kind kind);

/* 0 or -ENOMEM. */
int message_create(struct message **ret);
void message_destroy(struct message *m); /* NULL is welcome */

/* All decoders: 0 and *ret set, -EBADMSG (bytes that are no such message), -EINVAL (an object without a usable name) or -ENOMEM (memory, or
 * the bound of what one object may take); message_error says it in a sentence. */
const char *message_error(const struct message *m);

/* The bare message of an object, as it stands in a list or in an event's envelope. ret->faults says what could not be taken of it. */
int message_object(struct message *m, enum object_kind kind, const void *bytes, size_t len_bytes, struct object *ret);

/* What the bytes of an object that message_object did not take say of its name, found without unpacking it, so that what was known of it can
 * stay: ret has name_space, name, uid and version, and nothing else. message_error stays as it is. 0; -EINVAL with *ret set: its name is one
 * that message_object takes of no object, so that nothing is known of it; -EBADMSG: no name can be found. */
int message_name(struct message *m, enum object_kind kind, const void *bytes, size_t len_bytes, struct object_meta *ret);

struct message_list_meta {
	const char *version;        /* resourceVersion */
	const char *continue_token; /* "": this was the last page */
	int64_t remaining;          /* 0: not said */
};
int message_list_meta(struct message *m, const void *bytes, size_t len_bytes, struct message_list_meta *ret);

/* What a bookmark of a watch says: the resourceVersion of a bare object of any kind, which needs no name. */
int message_version(struct message *m, const void *bytes, size_t len_bytes, const char **ret);

/* meta/v1 Status, bare. */
struct message_status {
	const char *text;   /* for people */
	const char *reason; /* "Expired", "Forbidden", ... */
	const char *cause;  /* reason of its first cause: "ResourceVersionTooLarge" */
	int32_t code;       /* HTTP's */
	uint32_t retry_after_ms;
};
int message_status(struct message *m, const void *bytes, size_t len_bytes, struct message_status *ret);

/* Whole answers, in their envelope, as the API server sends them for one object. */
int message_answer_object(struct message *m, enum object_kind kind, const void *bytes, size_t len_bytes, struct object *ret);
int message_answer_meta(struct message *m, const void *bytes, size_t len_bytes, struct object_meta *ret); /* of any kind */
/* The value of a key of a ConfigMap's or a Secret's data; *ret_value ends with a NUL that is not counted. -ENOENT: it has no such key. */
int message_answer_data(struct message *m, const void *bytes, size_t len_bytes, const char *key, const void **ret_value,
                        size_t *ret_value_bytes);
/* A Status in its envelope; -EBADMSG where the answer is something else. */
int message_answer_status(struct message *m, const void *bytes, size_t len_bytes, struct message_status *ret);

/* The only value of a key of a request's extra; NULL: it is not there, or has several. */
const char *message_request_extra(const struct object_request *r, const char *key);

#endif
