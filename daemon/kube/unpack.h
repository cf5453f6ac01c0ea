/* SPDX-License-Identifier: GPL-3.0-or-later */
/* unpack.h - protobuf-c into the memory of one object, and what of it could not be taken: what message.c and kinds.c share.
 * Thread: one. */
#ifndef CULVERT_KUBE_UNPACK_H
#define CULVERT_KUBE_UNPACK_H

#include "kube.pb-c.h"
#include "kube/arena.h"
#include "kube/message.h"

struct message {
	struct arena arena;
	ProtobufCAllocator allocator;
	struct object_fault faults[MESSAGE_FAULTS_MAX];
	size_t faults_count;
	char error[MESSAGE_ERROR_BYTES];
	/* What message_name found. */
	char name_space[MESSAGE_NAME_BYTES], name[MESSAGE_NAME_BYTES], uid[MESSAGE_NAME_BYTES], version[MESSAGE_NAME_BYTES];
};

/* Forgets the object before. */
void unpack_begin(struct message *m);

/* The generated message, or NULL with the sentence and *ret_rc. what: its name in the sentence. */
void *unpack_message(struct message *m, const ProtobufCMessageDescriptor *descriptor, const char *what, const void *bytes, size_t len_bytes,
                     int *ret_rc);

/* Both set the sentence; they return rc, and -ENOMEM. */
__attribute__((format(printf, 3, 4))) int unpack_refuse(struct message *m, int rc, const char *format, ...);
int unpack_no_memory(struct message *m);

/* One more field that could not be taken. */
__attribute__((format(printf, 2, 3))) void unpack_fault(struct message *m, const char *format, ...);

/* The value of a key, or NULL. */
const char *unpack_find(Culvert__Kube__Entry *const *entries, size_t count, const char *key);

/* Can an object of that kind have that name? */
bool unpack_is_name(const char *kind, const char *name);

/* 0, or -EINVAL where there is no name that can be used. meta: NULL is refused. kind: its name in the sentence. */
int unpack_meta(struct message *m, const char *kind, const Culvert__Kube__ObjectMeta *meta, struct object_meta *ret);

#endif
