/* SPDX-License-Identifier: GPL-3.0-or-later */
/* attach.h - our programs on a device: attached first, replaced without a gap, read back, taken off.
 * tcx links before all others where the kernel has them (6.6), pinned so that they outlive the daemon; else clsact filters at preference
 * 1, which stay by themselves. Knows nothing of which devices are edges. Thread: main, in the node's namespace. */
#ifndef CULVERT_EDGE_ATTACH_H
#define CULVERT_EDGE_ATTACH_H

#include <stdbool.h>
#include <stdint.h>

enum { ATTACH_PATH_BYTES = 512, ATTACH_DETAIL_BYTES = 96 };

enum attach_method { ATTACH_NONE, ATTACH_TCX, ATTACH_CLSACT };
enum attach_direction { ATTACH_INGRESS, ATTACH_EGRESS, ATTACH_DIRECTIONS };

/* Has the kernel tcx? */
bool attach_has_tcx(void);

/* Puts a program on a device, or in the place of ours that is there; what the other method left of ours is taken off afterwards.
 * pin_directory holds the links' pins. 0, or -errno with a sentence in detail (-EBUSY: somebody else holds the first place of clsact). */
int attach_program(const char *pin_directory, uint32_t ifindex, const char *name, enum attach_direction direction,
                   enum attach_method method, int program_fd, char detail[ATTACH_DETAIL_BYTES]);
/* Takes ours off, by whichever method; harmless where there is none. */
void attach_remove(const char *pin_directory, uint32_t ifindex, const char *name, enum attach_direction direction);

enum attach_place {
	ATTACH_FIRST,  /* ours is the first program that a packet meets there */
	ATTACH_BEHIND, /* somebody else's is before it */
	ATTACH_GONE,   /* it is not there any more */
	ATTACH_UNREAD, /* the kernel does not say */
};

/* Reads back where program_id stands. But for ATTACH_FIRST detail says it in words, with the name of who is before us. */
enum attach_place attach_find(uint32_t ifindex, enum attach_direction direction, enum attach_method method, uint32_t program_id,
                              char detail[ATTACH_DETAIL_BYTES]);

/* Unpins the links of devices that are gone, or that is_kept does not want. */
void attach_sweep(const char *pin_directory, bool (*is_kept)(void *ctx, uint32_t ifindex), void *ctx);
/* Takes ours off every device: all pinned links of pin_directory, and our filters in this namespace. A clsact that is left empty goes
 * too. */
void attach_remove_all(const char *pin_directory);

#endif
