/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pki.h - an authority and two node identities for tests, made once in a process in a temporary folder that goes at its end.
 * Names: URI:spiffe://cluster.local/ns/culvert/node/node1 and .../node2. Calls tls_init. Every fault ends the test program with a
 * message. */
#ifndef CULVERT_TESTS_PKI_H
#define CULVERT_TESTS_PKI_H

#include "tls/cred.h"

enum { PKI_NODES = 2 };

struct pki_node {
	char dir[128]; /* tls.crt, tls.key, ca.crt */
	struct tls_name name;
	struct tls_ctx *ctx; /* the process's; a test that keeps it refs it */
	struct cred_info info;
};

struct pki {
	char dir[96]; /* everything is below it; a test may add folders */
	char ca_dir[128];
	struct pki_node nodes[PKI_NODES];
};

const struct pki *pki_get(void);

#endif
