/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The nodes file: a view that comes out of it must answer for every address and prefix as the file says, and keep the ids of the view
 * before. */
#include "target.h"

#include "cluster/file.h"

#include <stdio.h>
#include <string.h>

static const char before_text[] =
	"nodes:\n- {name: node2, addresses: [172.30.0.2], pods: []}\n- {name: node1, addresses: [172.30.0.1], pods: []}\n";

static void check_node(const struct view *v, const struct view_node *n, const struct view *before)
{
	const struct view_node *old = view_node_by_name(before, n->name), *old_of_id = view_node_by_id(before, n->id);

	must(n->id > 0 && view_node_by_id(v, n->id) == n && view_node_by_name(v, n->name) == n);
	must(!old || old->id == n->id);
	must(!old_of_id || old_of_id == old);
	must(n->addresses_count > 0);
	for (size_t i = 0; i < n->addresses_count; i++) {
		must(view_node_by_address(v, &n->addresses[i]) == n);
		must(view_judge(v, &n->addresses[i], n, true) == VIEW_YES);
	}
	for (size_t i = 0; i < n->pods_count; i++) {
		struct view_answer answer = view_lookup(v, &n->pods[i].addr);

		must(answer.owner == n && prefix_contains(&n->pods[i], &n->pods[i].addr));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len_bytes)
{
	static struct view *before;
	char error[VIEW_ERROR_BYTES] = "";
	struct prefix space;
	struct view *v;

	must(prefix_parse("10.0.0.0/8", &space) == 0);
	if (!before)
		must(nodes_file_parse("before", before_text, sizeof(before_text) - 1, NULL, 0, "node1", NULL, &before, error) == 0);
	if (nodes_file_parse("fuzz", (const char *)bytes, len_bytes, &space, 1, "node1", before, &v, error) != 0) {
		must(strncmp(error, "fuzz:", 5) == 0 && strlen(error) >= 10);
		for (const char *p = error; *p != '\0'; p++)
			must(*p >= ' ' && *p < 0x7f);
		return 0;
	}
	must(view_self(v) && strcmp(view_self(v)->name, "node1") == 0);
	for (size_t i = 0; i < view_nodes_count(v); i++)
		check_node(v, view_node_at(v, i), before);
	view_unref(v);
	return 0;
}
