/* SPDX-License-Identifier: GPL-3.0-or-later */
/* kinds.h - each kind of object from its message: which fields are read, and what they must look like. Thread: one. */
#ifndef CULVERT_KUBE_KINDS_H
#define CULVERT_KUBE_KINDS_H

#include "kube/message.h"

/* As message_object, without forgetting what m holds. */
int kinds_take(struct message *m, enum object_kind kind, const void *bytes, size_t len_bytes, struct object *ret);

#endif
