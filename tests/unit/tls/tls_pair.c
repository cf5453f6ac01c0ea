/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls_pair.h"

#include "tls/ctx.h"
#include "unit/pki.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

void tls_pair_create(struct tls_pair *p, struct tls_ctx *client, struct tls_ctx *server)
{
	*p = (struct tls_pair){ .client_result = TLS_WANT_READ, .server_result = TLS_WANT_READ };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, p->fds), 0);
	assert_int_equal(tls_session_create(client, p->fds[0], TLS_CLIENT, &p->client), 0);
	assert_int_equal(tls_session_create(server, p->fds[1], TLS_SERVER, &p->server), 0);
}

static bool waits(enum tls_result r)
{
	return r == TLS_WANT_READ || r == TLS_WANT_WRITE;
}

void tls_pair_shake(struct tls_pair *p)
{
	/* Neither side needs more than a few turns; a side that ended lets the other see what it sent. */
	for (int i = 0; i < 10; i++) {
		if (waits(p->client_result))
			p->client_result = tls_handshake(p->client);
		if (waits(p->server_result))
			p->server_result = tls_handshake(p->server);
	}
}

void tls_pair_open(struct tls_pair *p, struct tls_ctx *client, struct tls_ctx *server)
{
	tls_pair_create(p, client, server);
	tls_pair_shake(p);
	if (p->client_result != TLS_OK || p->server_result != TLS_OK)
		fail_msg("client: %s; server: %s", tls_session_error(p->client), tls_session_error(p->server));
}

void tls_pair_destroy(struct tls_pair *p)
{
	tls_session_destroy(p->client);
	tls_session_destroy(p->server);
	close(p->fds[0]);
	close(p->fds[1]);
}

void tls_pair_carry(struct tls_session *from, struct tls_session *to, const char *text)
{
	uint8_t record[TLS_RECORD_MAX], *plain = NULL;
	size_t len = strlen(text), used = 0, plain_len = 0;

	memcpy(record + TLS_HEAD_BYTES, text, len);
	assert_int_equal(tls_seal(from, record, len), TLS_OK);
	assert_int_equal(tls_open(to, record, TLS_HEAD_BYTES + len + TLS_TAIL_BYTES, &used, &plain, &plain_len), TLS_OK);
	assert_int_equal(used, TLS_HEAD_BYTES + len + TLS_TAIL_BYTES);
	assert_int_equal(plain_len, len);
	assert_memory_equal(plain, text, len);
}

size_t tls_pair_carry_control(struct tls_session *from, struct tls_session *to)
{
	uint8_t control[TLS_CONTROL_MAX], *plain = NULL;
	size_t len = tls_take_control(from, control, sizeof(control)), at = 0, count = 0, used = 0, plain_len = 0;

	while (at < len) {
		assert_int_equal(tls_open(to, control + at, len - at, &used, &plain, &plain_len), TLS_OK);
		assert_int_equal(plain_len, 0);
		at += used;
		count++;
	}
	return count;
}

static char *read_file(const char *path, size_t *ret_len)
{
	FILE *f = fopen(path, "re");
	char *text = malloc(1 << 16);

	if (!f)
		fail_msg("%s: %s", path, strerror(errno));
	assert_non_null(text);
	*ret_len = fread(text, 1, (1 << 16) - 1, f);
	text[*ret_len] = '\0';
	fclose(f);
	return text;
}

static struct pem parse_file(const char *path)
{
	struct pem pem = { 0 };
	unsigned line;
	size_t len;
	char *text = read_file(path, &len);

	assert_int_equal(pem_parse(text, len, &pem, &line), PEM_OK);
	free(text);
	return pem;
}

struct tls_ctx *tls_ctx_unjudged(const char *dir, const char *ca_file, const char *crl_file)
{
	char path[TLS_DIR_BYTES + 16];
	struct pem_text chain = { 0 };
	struct pem key, authorities, crls = { 0 };
	struct tls_blob authority_blobs[PEM_BLOCKS_MAX], crl_blobs[PEM_BLOCKS_MAX];
	struct tls_material m = { .chain = &chain, .authorities = authority_blobs, .crls = crl_blobs };
	struct tls_fault fault = { 0 };
	struct tls_ctx *ctx = NULL;

	snprintf(path, sizeof(path), "%s/tls.crt", dir);
	chain.text = read_file(path, &chain.len_bytes);
	snprintf(path, sizeof(path), "%s/tls.key", dir);
	key = parse_file(path);
	authorities = parse_file(ca_file);
	if (crl_file)
		crls = parse_file(crl_file);
	m.key = (struct tls_blob){ key.blocks[0].der, key.blocks[0].len_bytes };
	for (m.authorities_count = 0; m.authorities_count < authorities.count; m.authorities_count++)
		authority_blobs[m.authorities_count] = (struct tls_blob){ authorities.blocks[m.authorities_count].der,
			                                                  authorities.blocks[m.authorities_count].len_bytes };
	for (m.crls_count = 0; m.crls_count < crls.count; m.crls_count++)
		crl_blobs[m.crls_count] = (struct tls_blob){ crls.blocks[m.crls_count].der, crls.blocks[m.crls_count].len_bytes };
	if (tls_ctx_create(&m, &ctx, &fault))
		fail_msg("%s: part %d, code %d", dir, (int)fault.part, fault.code);
	pem_free(&chain);
	pem_done(&key);
	pem_done(&authorities);
	pem_done(&crls);
	return ctx;
}

void tls_issue(const char *name, const struct ca_leaf *leaf, char dir[TLS_DIR_BYTES])
{
	const struct pki *pki = pki_get();
	char error[CA_ERROR_BYTES] = "";

	snprintf(dir, TLS_DIR_BYTES, "%s/%s", pki->dir, name);
	if (ca_issue(pki->ca_dir, dir, leaf, error))
		fail_msg("%s: %s", name, error);
}

struct ca_leaf tls_leaf(void)
{
	return ca_leaf_default("node1", &pki_get()->nodes[0].name, 0);
}
