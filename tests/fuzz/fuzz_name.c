/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Peer names: the first line is a template, the others are a certificate's names (URI:... or DNS:...). The name that a template gives to a
 * node must lead back to that node and to no other, and no certificate is a node's by one way of asking and not by the other. */
#include "target.h"

#include "cluster/name.h"

#include <string.h>

static struct view *two_nodes(void)
{
	static const struct view_daemon daemons[2] = { { "sys", "culvert-a", "uid-a" }, { "sys", "culvert-b", "uid-b" } };
	struct view_node nodes[2] = { { .name = "node1", .daemons = &daemons[0], .daemons_count = 1 },
		                      { .name = "node2", .daemons = &daemons[1], .daemons_count = 1 } };
	struct view_edit *e;
	struct view *v;
	uint32_t id;

	must(view_edit_begin(NULL, "node1", &e) == 0);
	must(view_edit_put_node(e, &nodes[0], &id) == 0 && view_edit_put_node(e, &nodes[1], &id) == 0);
	must(view_edit_finish(e, &v) == 0);
	return v;
}

static void check_peer(const struct name_template *t, const struct tls_peer *peer, const struct view *v)
{
	char error[NAME_ERROR_BYTES] = "";
	const struct view_node *found = name_find_node(t, peer, v, error);

	for (size_t i = 0; i < view_nodes_count(v); i++) {
		const struct view_node *n = view_node_at(v, i);

		must(name_is_node(t, peer, n) == (n == found));
	}
	for (const char *p = error; !found && *p != '\0'; p++)
		must(*p >= ' ' && *p < 0x7f);
	must(found || error[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len_bytes)
{
	static struct view *v;
	char text[4096], error[NAME_ERROR_BYTES] = "", *rest = text, *line;
	struct tls_peer peer = { .names_count = 0 }, own = { .names_count = 1 };
	struct name_template t;

	if (len_bytes >= sizeof(text))
		return 0;
	memcpy(text, bytes, len_bytes);
	text[len_bytes] = '\0';
	if (!v)
		v = two_nodes();
	line = strsep(&rest, "\n");
	if (name_template_parse_kubernetes(line, &t, error) != 0) {
		must(error[0] != '\0');
		return 0;
	}
	if (t.is_shared)
		return 0;
	while (rest && peer.names_count < TLS_NAMES_MAX) {
		struct tls_name *n = &peer.names[peer.names_count];

		line = strsep(&rest, "\n");
		if (strlen(line) < 4 || strlen(line + 4) >= TLS_NAME_BYTES)
			continue;
		n->type = line[0] == 'U' ? TLS_NAME_URI : TLS_NAME_DNS;
		memcpy(n->text, line + 4, strlen(line + 4) + 1);
		peer.names_count++;
	}
	check_peer(&t, &peer, v);
	if (name_of_daemon(&t, view_node_by_name(v, "node2"), 0, &own.names[0]) == 0) {
		check_peer(&t, &own, v);
		must(name_is_node(&t, &own, view_node_by_name(v, "node2")));
	}
	return 0;
}
