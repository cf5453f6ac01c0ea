/* SPDX-License-Identifier: GPL-3.0-or-later */
/* client.h - one question to the daemon over its status socket.
 * One thread. */
#ifndef CULVERT_CTL_CLIENT_H
#define CULVERT_CTL_CLIENT_H

#include "status.pb-c.h"

enum {
	CLIENT_ERROR_BYTES = 512,
	CLIENT_PATIENCE_MS = 10000,    /* the daemon itself answers or gives up within 5 s */
	CLIENT_ANSWER_MAX = 256 << 20, /* 65,536 streams are about 20 MB */
};

/* Asks and waits. 0: *ret is the caller's, to be freed by culvert__status__response__free_unpacked; it may be an Error. Else -errno with a sentence in error: nobody
 * answers at path, or not in words that this version understands. */
int client_ask(const char *path, const Culvert__Status__Request *request, Culvert__Status__Response **ret, char error[CLIENT_ERROR_BYTES]);

#endif
