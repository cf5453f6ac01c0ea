/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/json.h"

#include "ctl/text.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>

/* What lies at a field's offset, read as its C type. */
#define MEMBER(at, type) (*(const type *)(const void *)(at))

static void put_message(FILE *out, const ProtobufCMessage *m, int depth);

static void new_line(FILE *out, int depth)
{
	fprintf(out, "\n%*s", depth * 2, "");
}

void json_print_text(FILE *out, const char *text)
{
	const uint8_t *p = (const uint8_t *)text;

	fputc('"', out);
	while (*p) {
		size_t len = utf8_length(p);

		if (!len) {
			fputs("\\ufffd", out);
			p++;
			continue;
		}
		if (*p == '"' || *p == '\\')
			fprintf(out, "\\%c", *p);
		else if (*p == '\n')
			fputs("\\n", out);
		else if (*p == '\t')
			fputs("\\t", out);
		else if (*p < ' ' || *p == 0x7f)
			fprintf(out, "\\u%04x", *p);
		else
			fwrite(p, 1, len, out);
		p += len;
	}
	fputc('"', out);
}

static void put_bytes(FILE *out, const ProtobufCBinaryData *bytes)
{
	fputc('"', out);
	for (size_t i = 0; i < bytes->len; i++)
		fprintf(out, "%02x", bytes->data[i]);
	fputc('"', out);
}

static void put_enum(FILE *out, const ProtobufCFieldDescriptor *f, int value)
{
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(f->descriptor, value);

	if (v)
		json_print_text(out, v->name);
	else
		fprintf(out, "%d", value);
}

static void put_value(FILE *out, const ProtobufCFieldDescriptor *f, const void *at, int depth)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		fprintf(out, "%" PRId32, MEMBER(at, int32_t));
		return;
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		fprintf(out, "%" PRIu32, MEMBER(at, uint32_t));
		return;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		fprintf(out, "%" PRId64, MEMBER(at, int64_t));
		return;
	case PROTOBUF_C_TYPE_UINT64:
		fprintf(out, "%" PRIu64, MEMBER(at, uint64_t));
		return;
	case PROTOBUF_C_TYPE_FIXED64:
		fprintf(out, "\"%016" PRIx64 "\"", MEMBER(at, uint64_t));
		return;
	case PROTOBUF_C_TYPE_FLOAT:
		fprintf(out, "%.9g", (double)MEMBER(at, float));
		return;
	case PROTOBUF_C_TYPE_DOUBLE:
		fprintf(out, "%.17g", MEMBER(at, double));
		return;
	case PROTOBUF_C_TYPE_BOOL:
		fputs(MEMBER(at, protobuf_c_boolean) ? "true" : "false", out);
		return;
	case PROTOBUF_C_TYPE_ENUM:
		put_enum(out, f, MEMBER(at, int));
		return;
	case PROTOBUF_C_TYPE_STRING: {
		const char *text = MEMBER(at, char *);

		json_print_text(out, text ? text : "");
		return;
	}
	case PROTOBUF_C_TYPE_BYTES:
		put_bytes(out, at);
		return;
	case PROTOBUF_C_TYPE_MESSAGE: {
		const ProtobufCMessage *m = MEMBER(at, ProtobufCMessage *);

		if (m)
			put_message(out, m, depth);
		else
			fputs("null", out);
		return;
	}
	}
}

static size_t value_size(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	default:
		return 4;
	}
}

static void put_list(FILE *out, const ProtobufCFieldDescriptor *f, const uint8_t *first, size_t count, int depth)
{
	fputc('[', out);
	for (size_t i = 0; i < count; i++) {
		if (i)
			fputc(',', out);
		new_line(out, depth + 1);
		put_value(out, f, first + i * value_size(f->type), depth + 1);
	}
	if (count)
		new_line(out, depth);
	fputc(']', out);
}

static void put_message(FILE *out, const ProtobufCMessage *m, int depth)
{
	const ProtobufCMessageDescriptor *d = m->descriptor;
	const uint8_t *base = (const uint8_t *)m;
	bool is_first = true;

	fputc('{', out);
	for (unsigned i = 0; i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];

		if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF && MEMBER(base + f->quantifier_offset, uint32_t) != f->id)
			continue;
		if (!is_first)
			fputc(',', out);
		is_first = false;
		new_line(out, depth + 1);
		json_print_text(out, f->name);
		fputs(": ", out);
		if (f->label == PROTOBUF_C_LABEL_REPEATED)
			put_list(out, f, MEMBER(base + f->offset, uint8_t *), MEMBER(base + f->quantifier_offset, size_t), depth + 1);
		else
			put_value(out, f, base + f->offset, depth + 1);
	}
	if (!is_first)
		new_line(out, depth);
	fputc('}', out);
}

void json_print(FILE *out, const ProtobufCMessage *m)
{
	put_message(out, m, 0);
	fputc('\n', out);
}
