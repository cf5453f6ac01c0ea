/* SPDX-License-Identifier: GPL-3.0-or-later */
/* config_value.h - one value of the settings, from the tree of a file into its place in struct config, or one line that says what is wrong with it.
 * For config.c alone. Thread: main. */
#ifndef CULVERT_BASE_CONFIG_VALUE_H
#define CULVERT_BASE_CONFIG_VALUE_H

#include "base/config_keys.h"
#include "base/tree.h"

/* A file that is being read. */
struct config_reading {
	const char *path;
	char *error; /* CONFIG_ERROR_BYTES */
	struct config *config;
	const char *node; /* given beside the file; NULL: it is not */
};

/* "FILE:LINE: ..." into r->error; without the line where it is 0. Returns -EINVAL. */
__attribute__((format(printf, 3, 4))) int config_fault(const struct config_reading *r, unsigned line, const char *format, ...);

/* What k's value is becomes part of r->config, which owns what is allocated. A section is only marked as there. 0, -EINVAL or -ENOMEM with
 * r->error set. */
int config_take(const struct config_reading *r, const struct config_key *k, const struct tree_node *n);

#endif
