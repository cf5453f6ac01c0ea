/* SPDX-License-Identifier: GPL-3.0-or-later */
/* top.h - peers and streams, with what they move a second, again each second.
 * One thread. */
#ifndef CULVERT_CTL_TOP_H
#define CULVERT_CTL_TOP_H

#include <stdint.h>

/* Until q, Ctrl-C, or rounds (0: no limit). Where standard output is no terminal each round is printed below the last. Returns an exit status. */
int top_run(const char *socket_path, uint64_t rounds);

#endif
