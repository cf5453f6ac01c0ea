/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pins.h - the folder of a daemon's pins below a bpffs: made, judged, taken over, filled, removed.
 * What lies in it outlives the daemon. Knows nothing of what maps hold, but for the version in `settings`. Thread: main. */
#ifndef CULVERT_EDGE_PINS_H
#define CULVERT_EDGE_PINS_H

#include "edge/netns.h"

#include <stdbool.h>
#include <stddef.h>

struct bpf_map;
struct bpf_object;

/* Makes directory and what is missing above it, where the nearest existing one is on a bpffs. 0, or -errno with a sentence in error. */
int pins_make_directory(const char *directory, char error[EDGE_ERROR_BYTES]);

/* Maps of the compiler's own (.rodata) belong to one load of the object and are not shared. */
bool pins_is_shared_map(const struct bpf_map *m);
/* Opens the map that is pinned under that name, where its keys and values have these sizes. The descriptor, or -errno. */
int pins_open(const char *directory, const char *name, size_t key_bytes, size_t value_bytes);
/* Are the maps that are pinned there of this version's layout? */
bool pins_is_version_known(const char *directory);
/* Are the object's maps all pinned there and of this version's layout? */
bool pins_are_usable(const struct bpf_object *object, const char *directory);
/* Is any of them pinned, of whatever version? */
bool pins_are_there(const struct bpf_object *object, const char *directory);
/* Before the object is loaded: its maps are the pinned ones. 0 or -errno. */
int pins_reuse(struct bpf_object *object, const char *directory);
/* Puts the object's new maps in the place of those of another version, whose programs go on with them until they are replaced. 0 or -errno. */
int pins_replace(struct bpf_object *object, const char *directory);

/* Takes everything out, links and filters of ours too. 0, or -errno with a sentence in error. */
int pins_remove(const char *directory, char error[EDGE_ERROR_BYTES]);

#endif
