/* SPDX-License-Identifier: GPL-3.0-or-later */
/* fault.h - a sentence for whoever asked, beside a negative errno. */
#ifndef CULVERT_EDGE_FAULT_H
#define CULVERT_EDGE_FAULT_H

#include "edge/netns.h"

/* Writes the sentence and gives code back. */
int edge_fault(char error[EDGE_ERROR_BYTES], int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
