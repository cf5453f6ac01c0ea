/* SPDX-License-Identifier: GPL-3.0-or-later */
/* show.h - the daemon's answers as tables for people.
 * now_s: Unix time. One thread. */
#ifndef CULVERT_CTL_SHOW_H
#define CULVERT_CTL_SHOW_H

#include "status.pb-c.h"

#include <stdint.h>
#include <stdio.h>

void show_status(FILE *out, const Culvert__Status__Status *s, int64_t now_s);
void show_peers(FILE *out, const Culvert__Status__Peers *p, int64_t now_s);
void show_streams(FILE *out, const Culvert__Status__Streams *s);
void show_ended_streams(FILE *out, const Culvert__Status__EndedStreams *s);
void show_certificates(FILE *out, const Culvert__Status__Certificates *c, int64_t now_s);
void show_check(FILE *out, const Culvert__Status__Check *c);
void show_counters(FILE *out, Culvert__Status__Counter *const *counters, size_t count);

#endif
