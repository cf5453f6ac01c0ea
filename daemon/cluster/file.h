/* SPDX-License-Identifier: GPL-3.0-or-later */
/* file.h - the nodes file (YAML) -> view. Thread: main. */
#ifndef CULVERT_CLUSTER_FILE_H
#define CULVERT_CLUSTER_FILE_H

#include "cluster/view.h"

/* Reads path and builds a view (see view_create for the last arguments). Faults name the file, the line where it is known, the value, and
 * what would be right. 0 or -errno with error set. */
int nodes_file_load(const char *path, const struct prefix *cluster_pods, size_t cluster_pods_count, const char *self_name,
                    const struct view *before, struct view **ret, char error[VIEW_ERROR_BYTES]);
/* The same from memory, for tests and the fuzzer; path only names the source in messages. */
int nodes_file_parse(const char *path, const char *text, size_t len_bytes, const struct prefix *cluster_pods, size_t cluster_pods_count,
                     const char *self_name, const struct view *before, struct view **ret, char error[VIEW_ERROR_BYTES]);

#endif
