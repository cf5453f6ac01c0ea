/* SPDX-License-Identifier: GPL-3.0-or-later */
/* json.h - any message as JSON, by its descriptor: names as in the .proto file, every field present also where it is 0 or empty, so that a script never has to ask
 * whether a key is there. Of a oneof only the member that is set. fixed64 fields are identities and become 16 hex digits as text, because a number would lose
 * bits in most readers; bytes become hex; all other numbers are numbers. Plain functions; any thread. */
#ifndef CULVERT_CTL_JSON_H
#define CULVERT_CTL_JSON_H

#include <protobuf-c/protobuf-c.h>
#include <stdio.h>

/* Indented by two spaces, with a newline at the end. */
void json_print(FILE *out, const ProtobufCMessage *m);
/* A text with its quotes (RFC 8259, 7); bytes that are not UTF-8 become U+FFFD. */
void json_print_text(FILE *out, const char *text);

#endif
