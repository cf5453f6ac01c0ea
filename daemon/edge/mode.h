/* SPDX-License-Identifier: GPL-3.0-or-later */
/* mode.h - how another mode comes into force on a node whose peers take it earlier or later: what loosens is taken by what arrives first and by
 * what leaves a minute later, what tightens the other way round, so that nobody sends what the other refuses already. Knows no map.
 * Plain functions; any thread. */
#ifndef CULVERT_EDGE_MODE_H
#define CULVERT_EDGE_MODE_H

#include <stdbool.h>

#include "shared.h"

/* So long the two directions are apart. A change is everywhere within it where all nodes read one ConfigMap or are told together. */
enum { MODE_APART_MS = 60000 };

/* The mode of each direction, as config has it. */
enum edge_mode mode_egress(const struct edge_config *config);
enum edge_mode mode_ingress(const struct edge_config *config);
/* Takes what of it can be taken now. True: the other direction follows after MODE_APART_MS, by mode_finish. */
bool mode_begin(struct edge_config *config, enum edge_mode wanted);
void mode_finish(struct edge_config *config, enum edge_mode wanted);

#endif
