/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pki.h"

#include "tls/ca.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct pki pki;
static pid_t pki_owner;

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

static void pki_remove(void)
{
	/* A child that a test forked leaves the folder to its parent. */
	if (getpid() != pki_owner)
		return;
	for (int i = 0; i < PKI_NODES; i++)
		tls_ctx_unref(pki.nodes[i].ctx);
	(void)nftw(pki.dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void pki_must(int r, const char *what, const char *error)
{
	if (!r)
		return;
	fprintf(stderr, "pki: %s: %s (%d)\n", what, error, r);
	exit(1);
}

static void pki_make(void)
{
	char error[CA_ERROR_BYTES] = "", dir[sizeof(pki.dir)];
	const char *tmp = getenv("TMPDIR");

	pki_must(tls_init(), "tls_init", "failed");
	snprintf(dir, sizeof(dir), "%.60s/culvert-pki-XXXXXX", tmp ? tmp : "/tmp");
	pki_must(mkdtemp(dir) == NULL, "mkdtemp", dir);
	memcpy(pki.dir, dir, sizeof(dir));
	pki_owner = getpid();
	atexit(pki_remove);
	snprintf(pki.ca_dir, sizeof(pki.ca_dir), "%s/ca", dir);
	pki_must(ca_init(pki.ca_dir, NULL, 0, error), "ca_init", error);
	for (int i = 0; i < PKI_NODES; i++) {
		struct pki_node *n = &pki.nodes[i];
		struct ca_leaf leaf;
		char node[16];

		snprintf(node, sizeof(node), "node%d", i + 1);
		snprintf(n->dir, sizeof(n->dir), "%s/%s", dir, node);
		n->name.type = TLS_NAME_URI;
		snprintf(n->name.text, sizeof(n->name.text), "spiffe://cluster.local/ns/culvert/node/%s", node);
		leaf = ca_leaf_default(node, &n->name, 0);
		pki_must(ca_issue(pki.ca_dir, n->dir, &leaf, error), "ca_issue", error);
		pki_must(cred_load(n->dir, &n->name, &n->ctx, &n->info, error), "cred_load", error);
	}
}

const struct pki *pki_get(void)
{
	if (!pki_owner)
		pki_make();
	return &pki;
}
