/* SPDX-License-Identifier: GPL-3.0-or-later */
/* programs.h - the BPF programs and their maps, loaded over what is pinned or anew.
 * Knows nothing of devices and of what maps hold. Thread: main. */
#ifndef CULVERT_EDGE_PROGRAMS_H
#define CULVERT_EDGE_PROGRAMS_H

#include "edge/attach.h"
#include "edge/netns.h"

#include <stdbool.h>

struct bpf_link;
struct edge_bpf;
struct steer_bpf;

struct programs {
	struct edge_bpf *edge; /* its maps are those that everybody uses */
	struct steer_bpf *steer;
	struct bpf_link *steer_link;
	bool has_ct;    /* the kernel has conntrack's lookup */
	bool is_reused; /* the maps are those of an earlier daemon */
	bool had_maps;  /* there were some, of this or another version */
};

/* What the library says goes to the log at level debug. */
void programs_log_library(void);

/* Loads the edge programs over the pinned maps, or new ones that are pinned. What fails half-way is undone by programs_done. 0, or -errno
 * with a sentence in error. */
int programs_load_edge(struct programs *p, const char *pin_directory, char error[EDGE_ERROR_BYTES]);
/* And the one that picks listeners, over the same maps, into the private namespace. */
int programs_load_steer(struct programs *p, const struct edge_netns *n, char error[EDGE_ERROR_BYTES]);
void programs_done(struct programs *p); /* a zeroed one is welcome */

/* The program for a device with or without Ethernet's head. */
int programs_fd(const struct programs *p, enum attach_direction direction, bool is_l3);
uint32_t programs_id(const struct programs *p, enum attach_direction direction, bool is_l3); /* 0: the kernel does not say */

#endif
