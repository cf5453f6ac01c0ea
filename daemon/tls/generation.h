/* SPDX-License-Identifier: GPL-3.0-or-later */
/* generation.h - files that change together: a folder of their own for each generation, and one link, ..data, that is renamed from the old
 * to the new. Who reads through ..data (cred.h) never sees files of two generations; a crash leaves the old one in force. It is the form
 * in which Kubernetes writes its volumes, with the same links for people: tls.crt -> ..data/tls.crt.
 * Thread: any, one at a time on one folder; the folder is this module's alone. */
#ifndef CULVERT_TLS_GENERATION_H
#define CULVERT_TLS_GENERATION_H

#include <stddef.h>
#include <sys/types.h>

struct generation_file {
	const char *name;
	const char *text; /* borrowed */
	size_t len_bytes;
	mode_t mode;
};

enum { GENERATION_ERROR_BYTES = 512, GENERATION_FILES_MAX = 8 };

/* Writes the files, lets check (NULL: none) judge the folder that they are in, and puts them in force. directory is made (mode 0700) where it
 * is missing; older generations are removed. 0; what check returned, with nothing changed and error as check left it; or -errno with a
 * sentence in error. */
int generation_write(const char *directory, const struct generation_file *files, size_t count,
                     int (*check)(void *ctx, const char *folder, char error[GENERATION_ERROR_BYTES]), void *ctx,
                     char error[GENERATION_ERROR_BYTES]);

/* Removes all generations, their links and the folder itself, unless something else is in it. Harmless where there is none. */
void generation_remove(const char *directory);

#endif
