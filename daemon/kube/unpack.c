/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "kube/unpack.h"

#include "base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int unpack_refuse(struct message *m, int rc, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(m->error, sizeof(m->error), format, args);
	va_end(args);
	return rc;
}

int unpack_no_memory(struct message *m)
{
	return unpack_refuse(m, -ENOMEM, "no memory for an object, which may take %d MiB", ARENA_MAX_BYTES >> 20);
}

void unpack_fault(struct message *m, const char *format, ...)
{
	va_list args;

	if (m->faults_count == MESSAGE_FAULTS_MAX)
		return;
	va_start(args, format);
	(void)vsnprintf(m->faults[m->faults_count].text, sizeof(m->faults[0].text), format, args);
	va_end(args);
	m->faults_count++;
}

void unpack_begin(struct message *m)
{
	arena_reset(&m->arena);
	m->faults_count = 0;
	m->error[0] = '\0';
}

/* Memory that ran out looks like bytes that are wrong: the arena tells them apart. */
void *unpack_message(struct message *m, const ProtobufCMessageDescriptor *descriptor, const char *what, const void *bytes, size_t len_bytes,
                     int *ret_rc)
{
	void *message = protobuf_c_message_unpack(descriptor, &m->allocator, len_bytes, bytes);

	if (message)
		return message;
	if (m->arena.is_exhausted)
		*ret_rc = unpack_no_memory(m);
	else
		*ret_rc = unpack_refuse(m, -EBADMSG, "%zu bytes that are no %s", len_bytes, what);
	return NULL;
}

const char *unpack_find(Culvert__Kube__Entry *const *entries, size_t count, const char *key)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(entries[i]->key, key) == 0)
			return entries[i]->value;
	}
	return NULL;
}

bool unpack_is_name(const char *kind, const char *name)
{
	/* Names of requests may hold more than those of the others; nothing of ours is named after them. */
	return text_is_subdomain(name) || (name[0] != '\0' && strcmp(kind, message_kind_name(OBJECT_REQUEST)) == 0);
}

int unpack_meta(struct message *m, const char *kind, const Culvert__Kube__ObjectMeta *meta, struct object_meta *ret)
{
	char quoted[TEXT_QUOTE_BYTES];

	if (!meta || meta->name[0] == '\0')
		return unpack_refuse(m, -EINVAL, "a %s without metadata.name", kind);
	if (!unpack_is_name(kind, meta->name))
		return unpack_refuse(m, -EINVAL, "a %s with the metadata.name %s; small letters, digits, '-' and '.' would be right", kind,
		                     text_quote(meta->name, quoted));
	*ret = (struct object_meta){
		.name_space = meta->name_space,
		.name = meta->name,
		.uid = meta->uid,
		.version = meta->resourceversion,
		.created_s = meta->creationtimestamp ? meta->creationtimestamp->seconds : 0,
		.is_deleting = meta->deletiontimestamp != NULL,
	};
	return 0;
}
