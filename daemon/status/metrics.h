/* SPDX-License-Identifier: GPL-3.0-or-later */
/* metrics.h - a snapshot as Prometheus reads it: the text format, version 0.0.4.
 * The names, labels and their meaning are in docs/operations.md; names are never given another meaning. How many series there are depends on
 * the build alone, not on how many nodes, pods or streams there are. Plain function; any thread. */
#ifndef CULVERT_STATUS_METRICS_H
#define CULVERT_STATUS_METRICS_H

#include "status/snapshot.h"

#include <stdio.h>

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* s as it is filled for STATUS_STATUS, with peers and certificates. */
void metrics_print(const struct snapshot *s, FILE *out);

#endif
