/* SPDX-License-Identifier: GPL-3.0-or-later */
/* passing.h - a connection whose SYN was held and that goes on in the clear after all (permissive mode): as the kernel's maps of flows have it, by
 * which the egress program lets it pass. Knows nothing of sockets and streams. Plain functions; any thread. */
#ifndef CULVERT_EDGE_PASSING_H
#define CULVERT_EDGE_PASSING_H

#include "tunnel/syn.h"

#include <stdbool.h>

/* The maps; borrowed. */
struct passing {
	int flows_fd, passed_fd, settings_fd;
};

/* From now on the connection passes, its SYN once more included. 0, or -errno: it does not; -EPERM: the mode that is in force lets none pass. */
int passing_put(const struct passing *p, const struct syn *s);
/* Has this very SYN been let pass? It may have been sent again, and have lain in a ring, while that was decided. */
bool passing_has(const struct passing *p, const struct syn *s);

#endif
