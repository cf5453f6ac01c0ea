/* SPDX-License-Identifier: GPL-3.0-or-later */
/* exit.h - what culvertctl's exit status says; scripts rely on it. Plain data. */
#ifndef CULVERT_CTL_EXIT_H
#define CULVERT_CTL_EXIT_H

enum { EXIT_GOOD = 0, EXIT_WRONG = 1, EXIT_USAGE = 2, EXIT_UNREACHABLE = 3 };

/* Below the sentence that says what is wrong with a command line. */
#define HINT "culvertctl --help lists all commands and their options\n"

#endif
