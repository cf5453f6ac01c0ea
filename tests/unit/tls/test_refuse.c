/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Handshakes that must fail, and the sentence that each end gets. */
#include "tls/ctx.h"
#include "tls_pair.h"
#include "unit/pki.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { DAY_S = 24 * 3600 };

static void expect_sentence(const char *found, const char *wanted)
{
	if (!strstr(found, wanted))
		fail_msg("\"%s\" does not say \"%s\"", found, wanted);
}

/* What a client reads after its own handshake: a server judges its certificate only then. */
static enum tls_result read_late(struct tls_session *s, int fd)
{
	uint8_t in[TLS_RECORD_MAX], *plain;
	size_t used, len;
	ssize_t n = recv(fd, in, sizeof(in), MSG_DONTWAIT);

	assert_true(n > 0);
	return tls_open(s, in, (size_t)n, &used, &plain, &len);
}

/* bad shows its certificate first as a client, then as a server, to a good node with the context judge. */
static void expect_refused(struct tls_ctx *bad, struct tls_ctx *judge, const char *sentence, const char *alert)
{
	struct tls_pair p;
	char wanted[64];

	snprintf(wanted, sizeof(wanted), "refused our certificate (alert %s)", alert);
	tls_pair_create(&p, bad, judge);
	tls_pair_shake(&p);
	assert_int_equal(p.server_result, TLS_FAILED);
	expect_sentence(tls_session_error(p.server), sentence);
	assert_int_equal(p.client_result, TLS_OK);
	assert_int_equal(read_late(p.client, p.fds[0]), TLS_FAILED);
	expect_sentence(tls_session_error(p.client), wanted);
	/* It stays so. */
	assert_int_equal(tls_handshake(p.server), TLS_FAILED);
	tls_pair_destroy(&p);

	tls_pair_create(&p, judge, bad);
	tls_pair_shake(&p);
	assert_int_equal(p.client_result, TLS_FAILED);
	expect_sentence(tls_session_error(p.client), sentence);
	assert_int_equal(p.server_result, TLS_FAILED);
	expect_sentence(tls_session_error(p.server), wanted);
	tls_pair_destroy(&p);
}

static struct tls_ctx *issue_unjudged(const char *name, const struct ca_leaf *leaf)
{
	char dir[TLS_DIR_BYTES], ca_file[TLS_DIR_BYTES + 16];

	tls_issue(name, leaf, dir);
	snprintf(ca_file, sizeof(ca_file), "%s/ca.crt", dir);
	return tls_ctx_unjudged(dir, ca_file, NULL);
}

static void expect_leaf_refused(const char *name, const struct ca_leaf *leaf, const char *sentence, const char *alert)
{
	struct tls_ctx *bad = issue_unjudged(name, leaf);

	expect_refused(bad, pki_get()->nodes[1].ctx, sentence, alert);
	tls_ctx_unref(bad);
}

static void test_expired(void **state)
{
	struct ca_leaf leaf = tls_leaf();

	(void)state;
	leaf.not_before_s = 978307200; /* 2001-01-01 */
	leaf.not_after_s = 978307200 + DAY_S;
	expect_leaf_refused("expired", &leaf, "the other node's certificate expired on 2001-01-02T00:00:00Z, by this node's clock it is 2",
	                    "certificate_expired");
}

static void test_not_yet_valid(void **state)
{
	struct ca_leaf leaf = tls_leaf();

	(void)state;
	leaf.not_before_s = 4102444800; /* 2100-01-01, written as GeneralizedTime */
	leaf.not_after_s = 4102444800 + DAY_S;
	expect_leaf_refused("future", &leaf, "the other node's certificate is not valid before 2100-01-01T00:00:00Z",
	                    "certificate_expired");
}

static void test_missing_usages(void **state)
{
	static const char sentence[] = "lacks an extended key usage, serverAuth and clientAuth are both needed";
	struct ca_leaf leaf = tls_leaf();

	(void)state;
	/* Where the library finds the very usage missing that the role needs, and where it would be content. */
	leaf.has_server_usage = false;
	expect_leaf_refused("clientonly", &leaf, sentence, "bad_certificate");
	leaf.has_server_usage = true;
	leaf.has_client_usage = false;
	expect_leaf_refused("serveronly", &leaf, sentence, "bad_certificate");
	leaf.has_server_usage = false;
	expect_leaf_refused("nousage", &leaf, sentence, "bad_certificate");
}

static void test_too_many_names(void **state)
{
	struct tls_name more[TLS_NAMES_MAX];
	struct ca_leaf leaf = tls_leaf();

	(void)state;
	for (size_t i = 0; i < TLS_NAMES_MAX; i++) {
		more[i].type = TLS_NAME_DNS;
		snprintf(more[i].text, sizeof(more[i].text), "n%zu.example", i);
	}
	leaf.more_names = more;
	leaf.more_names_count = TLS_NAMES_MAX;
	expect_leaf_refused("names9", &leaf, "the other node's certificate holds 9 URI and DNS names, at most 8 are taken",
	                    "bad_certificate");
}

static void test_eight_names_in_order(void **state)
{
	struct tls_name more[TLS_NAMES_MAX - 1];
	struct ca_leaf leaf = tls_leaf();
	struct tls_ctx *ctx;
	struct tls_pair p;

	(void)state;
	for (size_t i = 0; i < TLS_NAMES_MAX - 1; i++) {
		more[i].type = i % 2 ? TLS_NAME_URI : TLS_NAME_DNS;
		snprintf(more[i].text, sizeof(more[i].text), i % 2 ? "spiffe://example/n%zu" : "n%zu.example", i);
	}
	leaf.more_names = more;
	leaf.more_names_count = TLS_NAMES_MAX - 1;
	ctx = issue_unjudged("names8", &leaf);
	tls_pair_open(&p, ctx, pki_get()->nodes[1].ctx);
	assert_int_equal(tls_session_peer(p.server)->names_count, TLS_NAMES_MAX);
	assert_string_equal(tls_session_peer(p.server)->names[0].text, leaf.name.text);
	for (size_t i = 0; i < TLS_NAMES_MAX - 1; i++) {
		assert_string_equal(tls_session_peer(p.server)->names[i + 1].text, more[i].text);
		assert_int_equal(tls_session_peer(p.server)->names[i + 1].type, more[i].type);
	}
	tls_pair_destroy(&p);
	tls_ctx_unref(ctx);
}

/* Another authority, and a node's certificate by it. */
static void make_stranger(char ca_dir[TLS_DIR_BYTES], char dir[TLS_DIR_BYTES])
{
	struct ca_leaf leaf = tls_leaf();
	char error[CA_ERROR_BYTES];

	snprintf(ca_dir, TLS_DIR_BYTES, "%s/other-ca", pki_get()->dir);
	snprintf(dir, TLS_DIR_BYTES, "%s/stranger", pki_get()->dir);
	if (access(dir, F_OK) == 0)
		return;
	assert_int_equal(ca_init(ca_dir, "Another CA", 0, error), 0);
	assert_int_equal(ca_issue(ca_dir, dir, &leaf, error), 0);
}

static void test_unknown_authority(void **state)
{
	char ca_dir[TLS_DIR_BYTES], dir[TLS_DIR_BYTES], ca_file[TLS_DIR_BYTES];
	struct tls_ctx *bad;

	(void)state;
	make_stranger(ca_dir, dir);
	/* It trusts us; we do not know its authority. */
	snprintf(ca_file, sizeof(ca_file), "%s/ca.crt", pki_get()->ca_dir);
	bad = tls_ctx_unjudged(dir, ca_file, NULL);
	expect_refused(bad, pki_get()->nodes[1].ctx,
	               "the other node's certificate was issued by an authority that ca.crt does not hold (/CN=Another CA)", "unknown_ca");
	tls_ctx_unref(bad);
}

static void test_authority_of_the_same_name(void **state)
{
	char ca_dir[TLS_DIR_BYTES], dir[TLS_DIR_BYTES], ca_file[TLS_DIR_BYTES], error[CA_ERROR_BYTES];
	struct ca_leaf leaf = tls_leaf();
	struct tls_ctx *bad;
	struct tls_pair p;

	(void)state;
	snprintf(ca_dir, sizeof(ca_dir), "%s/same-ca", pki_get()->dir);
	snprintf(dir, sizeof(dir), "%s/same", pki_get()->dir);
	assert_int_equal(ca_init(ca_dir, NULL, 0, error), 0);
	assert_int_equal(ca_issue(ca_dir, dir, &leaf, error), 0);
	snprintf(ca_file, sizeof(ca_file), "%s/ca.crt", pki_get()->ca_dir);
	bad = tls_ctx_unjudged(dir, ca_file, NULL);
	tls_pair_create(&p, bad, pki_get()->nodes[1].ctx);
	tls_pair_shake(&p);
	assert_int_equal(p.server_result, TLS_FAILED);
	expect_sentence(tls_session_error(p.server), "/CN=Culvert CA");
	tls_pair_destroy(&p);
	tls_ctx_unref(bad);
}

static void test_revoked(void **state)
{
	const struct pki *pki = pki_get();
	char dir[TLS_DIR_BYTES], crl[TLS_DIR_BYTES], ca_file[TLS_DIR_BYTES], error[CA_ERROR_BYTES];
	struct ca_leaf leaf = tls_leaf();
	struct tls_ctx *bad, *judge, *good_ctx = NULL;
	const char *serial;
	struct cred_info info;
	struct tls_pair p;

	(void)state;
	tls_issue("revoked", &leaf, dir);
	assert_int_equal(cred_load(dir, NULL, &good_ctx, &info, error), 0);
	tls_ctx_unref(good_ctx);
	serial = info.self.serial;
	snprintf(crl, sizeof(crl), "%s/revoked.pem", pki->dir);
	assert_int_equal(ca_revoke(pki->ca_dir, crl, &serial, 1, 1, 0, error), 0);
	snprintf(ca_file, sizeof(ca_file), "%s/ca.crt", pki->ca_dir);
	bad = tls_ctx_unjudged(dir, ca_file, NULL);
	judge = tls_ctx_unjudged(pki->nodes[1].dir, ca_file, crl);
	expect_refused(bad, judge, "the other node's certificate is revoked by crl.pem, its serial number is ", "bad_certificate");
	/* The list does not touch others. */
	tls_pair_open(&p, pki->nodes[0].ctx, judge);
	tls_pair_destroy(&p);
	tls_ctx_unref(bad);
	tls_ctx_unref(judge);
}

static void test_list_of_one_authority_only(void **state)
{
	const struct pki *pki = pki_get();
	char other_ca[TLS_DIR_BYTES], dir[TLS_DIR_BYTES], crl[TLS_DIR_BYTES], both[TLS_DIR_BYTES], command[3 * TLS_DIR_BYTES + 64],
		ca_file[TLS_DIR_BYTES];
	char error[CA_ERROR_BYTES];
	struct tls_ctx *bad, *judge;

	(void)state;
	make_stranger(other_ca, dir);
	snprintf(both, sizeof(both), "%s/both.crt", pki->dir);
	snprintf(command, sizeof(command), "cat %s/ca.crt %s/ca.crt > %s", pki->ca_dir, other_ca, both);
	assert_int_equal(system(command), 0);
	snprintf(crl, sizeof(crl), "%s/one.pem", pki->dir);
	assert_int_equal(ca_revoke(pki->ca_dir, crl, NULL, 0, 1, 0, error), 0);
	snprintf(ca_file, sizeof(ca_file), "%s/ca.crt", pki->ca_dir);
	bad = tls_ctx_unjudged(dir, ca_file, NULL);
	judge = tls_ctx_unjudged(pki->nodes[1].dir, both, crl);
	expect_refused(bad, judge, "the other node's certificate can not be checked, crl.pem holds no list of its issuer (/CN=Another CA)",
	               "bad_certificate");
	tls_ctx_unref(bad);
	tls_ctx_unref(judge);
}

static void test_end_is_the_authority_s_where_that_comes_first(void **state)
{
	char ca_dir[TLS_DIR_BYTES], dir[TLS_DIR_BYTES], error[CA_ERROR_BYTES], ca_file[TLS_DIR_BYTES + 16];
	struct ca_leaf leaf = tls_leaf();
	struct tls_ctx *ctx;
	struct tls_pair p;
	int64_t end_s;

	(void)state;
	snprintf(ca_dir, sizeof(ca_dir), "%s/short-ca", pki_get()->dir);
	snprintf(dir, sizeof(dir), "%s/short", pki_get()->dir);
	assert_int_equal(ca_init(ca_dir, "Short CA", 2, error), 0);
	assert_int_equal(ca_issue(ca_dir, dir, &leaf, error), 0);
	snprintf(ca_file, sizeof(ca_file), "%s/ca.crt", dir);
	ctx = tls_ctx_unjudged(dir, ca_file, NULL);
	tls_pair_open(&p, ctx, ctx);
	end_s = tls_session_peer(p.server)->not_after_s;
	assert_true(end_s < leaf.not_after_s);
	assert_true(end_s > time(NULL) + DAY_S && end_s < time(NULL) + 3 * DAY_S);
	assert_int_equal(tls_session_peer(p.client)->not_after_s, end_s);
	tls_pair_destroy(&p);
	tls_ctx_unref(ctx);
}

static void test_authority_that_ended_since_the_context_was_made(void **state)
{
	char ca_file[TLS_DIR_BYTES];
	struct tls_ctx *judge;
	struct tls_pair p;

	(void)state;
	snprintf(ca_file, sizeof(ca_file), "%s/ca.crt", pki_get()->ca_dir);
	judge = tls_ctx_unjudged(pki_get()->nodes[1].dir, ca_file, NULL);
	judge->authorities[0].peer.not_after_s = 978307200;
	tls_pair_create(&p, pki_get()->nodes[0].ctx, judge);
	tls_pair_shake(&p);
	assert_int_equal(p.server_result, TLS_FAILED);
	expect_sentence(tls_session_error(p.server),
	                "an authority of the other node's certificate expired on 2001-01-01T00:00:00Z (/CN=Culvert CA)");
	tls_pair_destroy(&p);
	tls_ctx_unref(judge);
}

/* --- a foreign client: the library itself, over the other end of a socket pair --- */

struct foreign {
	WOLFSSL_CTX *ctx;
	WOLFSSL *ssl;
	struct tls_session *server;
	int fds[2];
	enum tls_result result;
};

static int foreign_verify(int ok, WOLFSSL_X509_STORE_CTX *store)
{
	(void)ok;
	(void)store;
	return 1;
}

static void foreign_create(struct foreign *f, const char *dir)
{
	char path[TLS_DIR_BYTES];

	*f = (struct foreign){ .result = TLS_WANT_READ };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, f->fds), 0);
	assert_int_equal(tls_session_create(pki_get()->nodes[1].ctx, f->fds[1], TLS_SERVER, &f->server), 0);
	f->ctx = wolfSSL_CTX_new(wolfTLSv1_3_client_method());
	assert_non_null(f->ctx);
	wolfSSL_CTX_set_verify(f->ctx, WOLFSSL_VERIFY_PEER, foreign_verify);
	if (dir) {
		FILE *file;
		char text[8192];
		size_t n;

		snprintf(path, sizeof(path), "%s/tls.crt", dir);
		file = fopen(path, "re");
		n = fread(text, 1, sizeof(text), file);
		fclose(file);
		assert_int_equal(wolfSSL_CTX_use_certificate_chain_buffer(f->ctx, (const unsigned char *)text, (long)n), WOLFSSL_SUCCESS);
		snprintf(path, sizeof(path), "%s/tls.key", dir);
		file = fopen(path, "re");
		n = fread(text, 1, sizeof(text), file);
		fclose(file);
		assert_int_equal(wolfSSL_CTX_use_PrivateKey_buffer(f->ctx, (const unsigned char *)text, (long)n, WOLFSSL_FILETYPE_PEM),
		                 WOLFSSL_SUCCESS);
	}
}

static void foreign_begin(struct foreign *f, const char *alpn)
{
	char protocol[32];

	f->ssl = wolfSSL_new(f->ctx);
	assert_non_null(f->ssl);
	assert_int_equal(wolfSSL_set_fd(f->ssl, f->fds[0]), WOLFSSL_SUCCESS);
	if (!alpn)
		return;
	snprintf(protocol, sizeof(protocol), "%s", alpn);
	assert_int_equal(wolfSSL_UseALPN(f->ssl, protocol, (unsigned)strlen(protocol), WOLFSSL_ALPN_CONTINUE_ON_MISMATCH), WOLFSSL_SUCCESS);
}

static void foreign_shake(struct foreign *f)
{
	for (int i = 0; i < 10; i++) {
		(void)wolfSSL_connect(f->ssl);
		if (f->result == TLS_WANT_READ || f->result == TLS_WANT_WRITE)
			f->result = tls_handshake(f->server);
	}
}

static void foreign_destroy(struct foreign *f)
{
	wolfSSL_free(f->ssl);
	wolfSSL_CTX_free(f->ctx);
	tls_session_destroy(f->server);
	close(f->fds[0]);
	close(f->fds[1]);
}

static void test_foreign_client_that_is_right(void **state)
{
	struct foreign f;

	(void)state;
	/* So that what follows is refused for its own reason. */
	foreign_create(&f, pki_get()->nodes[0].dir);
	foreign_begin(&f, "culvert/1");
	foreign_shake(&f);
	assert_int_equal(f.result, TLS_OK);
	foreign_destroy(&f);
}

static void test_no_certificate(void **state)
{
	struct foreign f;

	(void)state;
	foreign_create(&f, NULL);
	foreign_begin(&f, "culvert/1");
	foreign_shake(&f);
	assert_int_equal(f.result, TLS_FAILED);
	assert_string_equal(tls_session_error(f.server), "the other side showed no certificate, mutual TLS needs one");
	foreign_destroy(&f);
}

static void test_other_alpn(void **state)
{
	static const char *const protocols[] = { "h2", "culvert/2", "culvert/10", "culvert", "Culvert/1" };
	struct foreign f;

	(void)state;
	for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++) {
		foreign_create(&f, pki_get()->nodes[0].dir);
		foreign_begin(&f, protocols[i]);
		foreign_shake(&f);
		assert_int_equal(f.result, TLS_FAILED);
		expect_sentence(tls_session_error(f.server), "the other side speaks another application protocol than culvert/1");
		foreign_destroy(&f);
	}
}

static void test_no_alpn(void **state)
{
	struct foreign f;

	(void)state;
	foreign_create(&f, pki_get()->nodes[0].dir);
	foreign_begin(&f, NULL);
	foreign_shake(&f);
	assert_int_equal(f.result, TLS_FAILED);
	expect_sentence(tls_session_error(f.server), "the other side did not name the application protocol culvert/1");
	foreign_destroy(&f);
}

static void test_no_common_group(void **state)
{
	int groups[] = { WOLFSSL_ECC_SECP384R1 };
	struct foreign f;

	(void)state;
	foreign_create(&f, pki_get()->nodes[0].dir);
	assert_int_equal(wolfSSL_CTX_set_groups(f.ctx, groups, 1), WOLFSSL_SUCCESS);
	foreign_begin(&f, "culvert/1");
	foreign_shake(&f);
	assert_int_equal(f.result, TLS_FAILED);
	expect_sentence(tls_session_error(f.server), "the other side has no key exchange group in common with us");
	foreign_destroy(&f);
}

static void test_other_groups_and_suites_of_ours(void **state)
{
	static const struct {
		int group;
		const char *suite, *group_name, *suite_name;
	} cases[] = {
		{ WOLFSSL_ECC_X25519, "TLS13-AES256-GCM-SHA384", "X25519", "TLS_AES_256_GCM_SHA384" },
		{ WOLFSSL_ECC_SECP256R1, "TLS13-CHACHA20-POLY1305-SHA256", "SECP256R1", "TLS_CHACHA20_POLY1305_SHA256" },
	};
	struct foreign f;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int group = cases[i].group;
		uint8_t record[TLS_HEAD_BYTES + 3 + TLS_TAIL_BYTES], in[256], *plain = NULL;
		size_t used = 0, len = 0;
		char text[8] = "";
		ssize_t n;

		foreign_create(&f, pki_get()->nodes[0].dir);
		assert_int_equal(wolfSSL_CTX_set_groups(f.ctx, &group, 1), WOLFSSL_SUCCESS);
		assert_int_equal(wolfSSL_CTX_set_cipher_list(f.ctx, cases[i].suite), WOLFSSL_SUCCESS);
		foreign_begin(&f, "culvert/1");
		foreign_shake(&f);
		assert_int_equal(f.result, TLS_OK);
		assert_string_equal(tls_session_info(f.server).group, cases[i].group_name);
		assert_string_equal(tls_session_info(f.server).cipher, cases[i].suite_name);
		assert_int_equal(wolfSSL_write(f.ssl, "abc", 3), 3);
		n = recv(f.fds[1], in, sizeof(in), MSG_DONTWAIT);
		assert_true(n > 0);
		assert_int_equal(tls_open(f.server, in, (size_t)n, &used, &plain, &len), TLS_OK);
		assert_int_equal(used, n);
		assert_int_equal(len, 3);
		assert_memory_equal(plain, "abc", 3);
		memcpy(record + TLS_HEAD_BYTES, "xyz", 3);
		assert_int_equal(tls_seal(f.server, record, 3), TLS_OK);
		assert_int_equal(send(f.fds[1], record, sizeof(record), MSG_DONTWAIT), sizeof(record));
		assert_int_equal(wolfSSL_read(f.ssl, text, sizeof(text)), 3);
		assert_string_equal(text, "xyz");
		/* A forged record of this suite gets the same sentence. */
		assert_int_equal(wolfSSL_write(f.ssl, "abc", 3), 3);
		n = recv(f.fds[1], in, sizeof(in), MSG_DONTWAIT);
		in[n - 1] ^= 1;
		assert_int_equal(tls_open(f.server, in, (size_t)n, &used, &plain, &len), TLS_FAILED);
		assert_string_equal(tls_session_error(f.server), "a record was forged or damaged on its way");
		foreign_destroy(&f);
	}
}

static void test_end_in_the_handshake(void **state)
{
	struct tls_pair p;

	(void)state;
	tls_pair_create(&p, pki_get()->nodes[0].ctx, pki_get()->nodes[1].ctx);
	assert_int_equal(tls_handshake(p.client), TLS_WANT_READ);
	assert_int_equal(tls_handshake(p.server), TLS_WANT_READ);
	shutdown(p.fds[0], SHUT_WR);
	assert_int_equal(tls_handshake(p.server), TLS_PEER_CLOSED);
	assert_string_equal(tls_session_error(p.server),
	                    "the other side closed the connection during the handshake, without an alert that says why");
	assert_int_equal(tls_handshake(p.server), TLS_FAILED);
	tls_pair_destroy(&p);
}

/* --- strangers that speak no TLS, or never end their hello --- */

static enum tls_result feed(const uint8_t *bytes, size_t len, bool again, char error[TLS_ERROR_BYTES])
{
	struct tls_session *s = NULL;
	enum tls_result r = TLS_WANT_READ;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(tls_session_create(pki_get()->nodes[1].ctx, fds[1], TLS_SERVER, &s), 0);
	for (int i = 0; i < 1000 && r == TLS_WANT_READ; i++) {
		if (i == 0 || again)
			assert_int_equal(send(fds[0], bytes, len, MSG_NOSIGNAL), (ssize_t)len);
		r = tls_handshake(s);
	}
	snprintf(error, TLS_ERROR_BYTES, "%s", tls_session_error(s));
	tls_session_destroy(s);
	close(fds[0]);
	close(fds[1]);
	return r;
}

static void test_no_tls_at_all(void **state)
{
	static const char *const texts[] = { "GET / HTTP/1.1\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" };
	char error[TLS_ERROR_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(feed((const uint8_t *)texts[i], strlen(texts[i]), false, error), TLS_FAILED);
		assert_string_equal(error, "the other side sent something that is not TLS");
	}
}

static void test_hello_in_endless_pieces(void **state)
{
	/* A client hello that says it is 8,000 bytes long comes byte by byte, each in a record of its own. */
	static const uint8_t piece[] = { 22, 3, 1, 0, 1, 1 };
	uint8_t begin[] = { 22, 3, 1, 0, 4, 1, 0, 0x1f, 0x40, 22, 3, 1, 0, 1, 3 };
	uint8_t *stream = malloc(sizeof(begin) + 100 * sizeof(piece));
	char error[TLS_ERROR_BYTES];

	(void)state;
	memcpy(stream, begin, sizeof(begin));
	for (int i = 0; i < 100; i++)
		memcpy(stream + sizeof(begin) + (size_t)i * sizeof(piece), piece, sizeof(piece));
	assert_int_equal(feed(stream, sizeof(begin) + 100 * sizeof(piece), false, error), TLS_FAILED);
	expect_sentence(error, "sent more than 65536 bytes or 64 records without ending the handshake");
	free(stream);
}

static void test_hello_of_endless_length(void **state)
{
	/* Said to be 100,000 bytes long, in records of 16,000: the library refuses the length before our count ends. */
	enum { PART = 16000 };
	uint8_t *part = calloc(1, PART + 5);
	char error[TLS_ERROR_BYTES];

	(void)state;
	memcpy(part, "\x16\x03\x01\x3e\x80\x01\x01\x86\xa0", 9);
	assert_int_equal(feed(part, PART + 5, true, error), TLS_FAILED);
	expect_sentence(error, "TLS failed: Handshake message too large");
	free(part);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_expired),
		cmocka_unit_test(test_not_yet_valid),
		cmocka_unit_test(test_missing_usages),
		cmocka_unit_test(test_too_many_names),
		cmocka_unit_test(test_eight_names_in_order),
		cmocka_unit_test(test_unknown_authority),
		cmocka_unit_test(test_authority_of_the_same_name),
		cmocka_unit_test(test_revoked),
		cmocka_unit_test(test_list_of_one_authority_only),
		cmocka_unit_test(test_end_is_the_authority_s_where_that_comes_first),
		cmocka_unit_test(test_authority_that_ended_since_the_context_was_made),
		cmocka_unit_test(test_foreign_client_that_is_right),
		cmocka_unit_test(test_no_certificate),
		cmocka_unit_test(test_other_alpn),
		cmocka_unit_test(test_no_alpn),
		cmocka_unit_test(test_no_common_group),
		cmocka_unit_test(test_other_groups_and_suites_of_ours),
		cmocka_unit_test(test_end_in_the_handshake),
		cmocka_unit_test(test_no_tls_at_all),
		cmocka_unit_test(test_hello_in_endless_pieces),
		cmocka_unit_test(test_hello_of_endless_length),
	};

	(void)pki_get();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
