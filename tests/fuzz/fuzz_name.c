/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Peer names: the first line is a template, the others are a certificate's names (URI:... or DNS:...). The name that a template gives to a
 * node must lead back to that node and to no other, and no certificate is a node's by one way of asking and not by the other. */
#include "cluster/name.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len_bytes);

static void must(bool is_so)
{
	if (!is_so)
		abort();
}

static struct view *two_nodes(void)
{
	struct addr addresses[2] = { addr_from_v4_be(0x01010101), addr_from_v4_be(0x02020202) };
	struct view_node nodes[2] = { { .name = "node1", .addresses = &addresses[0], .addresses_count = 1 },
		                      { .name = "node2", .addresses = &addresses[1], .addresses_count = 1 } };
	char error[VIEW_ERROR_BYTES];
	struct view *v;

	must(view_create(nodes, 2, NULL, 0, "node1", NULL, &v, error) == 0);
	return v;
}

static void check_peer(const struct name_template *t, const struct tls_peer *peer, const struct view *v)
{
	char error[NAME_ERROR_BYTES] = "";
	const struct view_node *found = name_find_node(t, peer, v, error);

	for (size_t i = 0; i < view_nodes_count(v); i++) {
		const struct view_node *n = view_node_at(v, i);

		must(name_is_node(t, peer, n->name) == (n == found));
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
	if (name_template_parse(line, &t, error) != 0) {
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
	if (name_of_node(&t, "node2", &own.names[0]) == 0) {
		check_peer(&t, &own, v);
		must(name_is_node(&t, &own, "node2"));
	}
	return 0;
}
