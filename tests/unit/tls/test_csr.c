/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Requests: what we make is judged by openssl, what openssl makes is judged by us; and what an authority in memory signs. */
#include "tls/csr.h"
#include "tls/signer.h"
#include "unit/pki.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "unit/command.h"

static char dir[160];
static unsigned number;
static const struct tls_name uri = { .type = TLS_NAME_URI, .text = "spiffe://cluster.local/ns/culvert/node/n1" };

static int setup(void **state)
{
	char command[256];

	(void)state;
	snprintf(dir, sizeof(dir), "%s/csr%u", pki_get()->dir, number++);
	snprintf(command, sizeof(command), "mkdir -p %s", dir);
	return system(command);
}

static void write_file(const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "we");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* The request that openssl makes with this key and these arguments. */
static const char *made(const char *key, const char *arguments)
{
	command_output("openssl %s -out %s/key 2>&1", key, dir);
	return command_output("openssl req -new -key %s/key -subj /CN=anything %s 2>&1", dir, arguments);
}

#define P256 "ecparam -name prime256v1 -genkey -noout"

static void expect_refused(const char *text, size_t len_bytes, const char *wanted)
{
	char fault[CSR_FAULT_BYTES] = "";
	struct csr csr;

	assert_int_equal(csr_read_pem(text, len_bytes, &csr, fault), -EINVAL);
	expect_in(fault, wanted);
}

static void test_made_and_read(void **state)
{
	static const struct tls_name names[] = {
		{ .type = TLS_NAME_URI, .text = "spiffe://cluster.local/ns/culvert/node/n1" },
		{ .type = TLS_NAME_DNS, .text = "n1.example.org" },
	};
	struct pem_text key = { 0 }, request = { 0 };
	char fault[CSR_FAULT_BYTES] = "";
	const char *text;
	struct csr csr;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(csr_make(&names[i], &key, &request), 0);
		if (csr_read_pem(request.text, request.len_bytes, &csr, fault))
			fail_msg("%s", fault);
		assert_int_equal(csr.name.type, names[i].type);
		assert_string_equal(csr.name.text, names[i].text);
		write_file("request", request.text);
		write_file("key", key.text);
		text = command_output("openssl req -in %s/request -noout -verify -text 2>&1", dir);
		expect_in(text, "verify OK");
		expect_in(text, names[i].text);
		expect_in(text, "prime256v1");
		/* The key is the request's. */
		command_output("openssl pkey -in %s/key -pubout -out %s/a && openssl req -in %s/request -noout -pubkey | cmp - %s/a", dir,
		               dir, dir, dir);
		pem_free(&key);
		pem_free(&request);
	}
}

static void test_each_key_is_new(void **state)
{
	struct pem_text key[2] = { 0 }, request[2] = { 0 };

	(void)state;
	for (int i = 0; i < 2; i++)
		assert_int_equal(csr_make(&uri, &key[i], &request[i]), 0);
	assert_string_not_equal(key[0].text, key[1].text);
	for (int i = 0; i < 2; i++) {
		pem_free(&key[i]);
		pem_free(&request[i]);
	}
}

static void test_longest_name(void **state)
{
	struct pem_text key = { 0 }, request = { 0 };
	struct tls_name name = { .type = TLS_NAME_URI };
	char fault[CSR_FAULT_BYTES] = "";
	struct csr csr;

	(void)state;
	memset(name.text, 'a', TLS_NAME_BYTES - 1);
	assert_int_equal(csr_make(&name, &key, &request), 0);
	assert_int_equal(csr_read_pem(request.text, request.len_bytes, &csr, fault), 0);
	assert_string_equal(csr.name.text, name.text);
	pem_free(&key);
	pem_free(&request);
	assert_int_equal(csr_make(&(struct tls_name){ 0 }, &key, &request), -EINVAL);
}

static void test_of_openssl(void **state)
{
	char fault[CSR_FAULT_BYTES] = "";
	const char *text =
		made(P256, "-addext subjectAltName=DNS:n1 -addext keyUsage=critical,digitalSignature -addext basicConstraints=CA:FALSE");
	struct csr csr;

	(void)state;
	if (csr_read_pem(text, strlen(text), &csr, fault))
		fail_msg("%s", fault);
	assert_int_equal(csr.name.type, TLS_NAME_DNS);
	assert_string_equal(csr.name.text, "n1");
}

static void test_refused(void **state)
{
	static const struct {
		const char *key, *arguments, *wanted;
	} cases[] = {
		{ "genpkey -algorithm RSA", "-addext subjectAltName=DNS:n1", "not signed by ECDSA with SHA-256" },
		{ "ecparam -name secp384r1 -genkey -noout", "-sha256 -addext subjectAltName=DNS:n1", "another kind of key than EC P-256" },
		{ P256, "-sha384 -addext subjectAltName=DNS:n1", "not signed by ECDSA with SHA-256" },
		{ P256, "", "asks for no subject alternative name" },
		{ P256, "-addext subjectAltName=DNS:n1,DNS:n2", "more than one subject alternative name" },
		{ P256, "-addext subjectAltName=DNS:n1,URI:spiffe://a/b", "more than one subject alternative name" },
		{ P256, "-addext subjectAltName=IP:10.0.0.1", "of type [7]" },
		{ P256, "-addext subjectAltName=email:a@b", "of type [1]" },
		{ P256, "-addext subjectAltName=DNS:n1 -addext basicConstraints=critical,CA:TRUE", "asks for an authority's certificate" },
		{ P256, "-addext 'subjectAltName=URI:spiffe://a/b c'", "the byte 0x20" },
		{ P256, "-addext subjectAltName=DNS:n1 -subj /CN=x -x509", "must be one PEM block CERTIFICATE REQUEST" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *text = made(cases[i].key, cases[i].arguments);

		expect_refused(text, strlen(text), cases[i].wanted);
	}
	expect_refused("", 0, "is empty");
	expect_refused("hello", 5, "no PEM block");
}

/* Not one byte of a request may change: the signature covers all that is read. */
static void test_every_byte_counts(void **state)
{
	struct pem_text key = { 0 }, request = { 0 };
	char fault[CSR_FAULT_BYTES];
	struct csr csr, changed;
	struct pem pem;
	unsigned line;

	(void)state;
	assert_int_equal(csr_make(&uri, &key, &request), 0);
	assert_int_equal(pem_parse(request.text, request.len_bytes, &pem, &line), PEM_OK);
	assert_int_equal(csr_read(pem.blocks[0].der, pem.blocks[0].len_bytes, &csr, fault), 0);
	for (size_t i = 0; i < pem.blocks[0].len_bytes; i++) {
		pem.blocks[0].der[i] ^= 1;
		if (csr_read(pem.blocks[0].der, pem.blocks[0].len_bytes, &changed, fault) == 0)
			fail_msg("byte %zu plays no role", i);
		pem.blocks[0].der[i] ^= 1;
	}
	for (size_t n = 0; n < pem.blocks[0].len_bytes; n++)
		assert_int_equal(csr_read(pem.blocks[0].der, n, &changed, fault), -EINVAL);
	pem_done(&pem);
	pem_free(&key);
	pem_free(&request);
}

struct issued {
	struct pem_text ca, ca_key, key, request, chain;
	struct signer *signer;
	struct csr csr;
};

static void issue(struct issued *i, int64_t not_before_s, int64_t not_after_s)
{
	char error[CA_ERROR_BYTES] = "";
	int64_t now_s = time(NULL);

	assert_int_equal(signer_make("Culvert CA test", now_s - 300, now_s + 86400, &i->ca, &i->ca_key), 0);
	if (signer_open(i->ca.text, i->ca_key.text, &i->signer, error))
		fail_msg("%s", error);
	assert_int_equal(csr_make(&uri, &i->key, &i->request), 0);
	assert_int_equal(csr_read_pem(i->request.text, i->request.len_bytes, &i->csr, error), 0);
	if (signer_sign(i->signer, &i->csr, "n1", not_before_s, not_after_s, &i->chain, error))
		fail_msg("%s", error);
}

static void issued_done(struct issued *i)
{
	pem_free(&i->ca);
	pem_free(&i->ca_key);
	pem_free(&i->key);
	pem_free(&i->request);
	pem_free(&i->chain);
	signer_close(i->signer);
}

static void test_signed(void **state)
{
	int64_t now_s = time(NULL);
	struct issued i = { 0 };
	struct cred_info info;
	struct tls_ctx *ctx;
	char error[CRED_ERROR_BYTES] = "";
	const char *text;

	(void)state;
	issue(&i, now_s - 300, now_s + 3600);
	write_file("tls.crt", i.chain.text);
	write_file("tls.key", i.key.text);
	write_file("ca.crt", i.ca.text);
	command_output("openssl verify -purpose sslserver -CAfile %s/ca.crt %s/tls.crt 2>&1", dir, dir);
	command_output("openssl verify -purpose sslclient -CAfile %s/ca.crt %s/tls.crt 2>&1", dir, dir);
	text = command_output("openssl x509 -in %s/tls.crt -noout -text 2>&1", dir);
	expect_in(text, "URI:spiffe://cluster.local/ns/culvert/node/n1\n");
	expect_in(text, "Issuer: CN = Culvert CA test\n");
	expect_in(text, "Subject: CN = n1\n");
	expect_in(text, "Digital Signature\n");
	assert_null(strstr(text, "CA:TRUE"));
	if (cred_load(dir, &uri, &ctx, &info, error))
		fail_msg("%s", error);
	assert_int_equal(info.self.not_after_s, now_s + 3600);
	assert_int_equal(info.not_before_s, now_s - 300);
	tls_ctx_unref(ctx);
	issued_done(&i);
}

static void test_serials_differ(void **state)
{
	int64_t now_s = time(NULL);
	char error[CA_ERROR_BYTES];
	struct issued i = { 0 };
	struct pem_text more = { 0 };
	char first[256];

	(void)state;
	issue(&i, now_s, now_s + 60);
	assert_int_equal(signer_sign(i.signer, &i.csr, "n1", now_s, now_s + 60, &more, error), 0);
	write_file("a", i.chain.text);
	write_file("b", more.text);
	snprintf(first, sizeof(first), "%s", command_output("openssl x509 -noout -serial -in %s/a", dir));
	assert_string_not_equal(first, command_output("openssl x509 -noout -serial -in %s/b", dir));
	pem_free(&more);
	issued_done(&i);
}

static void test_not_longer_than_the_authority(void **state)
{
	int64_t now_s = time(NULL);
	char error[CA_ERROR_BYTES];
	struct issued i = { 0 };
	struct pem_text more = { 0 };

	(void)state;
	issue(&i, now_s, now_s + 60);
	assert_int_equal(signer_sign(i.signer, &i.csr, "n1", now_s, now_s + 2 * 86400, &more, error), -EINVAL);
	assert_int_equal(signer_sign(i.signer, &i.csr, "n1", now_s, now_s, &more, error), -EINVAL);
	assert_null(more.text);
	issued_done(&i);
}

static void test_authorities_that_are_wrong(void **state)
{
	struct pem_text ca = { 0 }, key = { 0 }, other_ca = { 0 }, other_key = { 0 };
	int64_t now_s = time(NULL);
	char error[CA_ERROR_BYTES];
	struct signer *s = NULL;

	(void)state;
	assert_int_equal(signer_make("one", now_s, now_s + 60, &ca, &key), 0);
	assert_int_equal(signer_make("other", now_s, now_s + 60, &other_ca, &other_key), 0);
	assert_int_equal(signer_open(ca.text, other_key.text, &s, error), -EINVAL);
	expect_in(error, "does not belong to the certificate of /CN=one");
	assert_int_equal(signer_open("", key.text, &s, error), -EINVAL);
	expect_in(error, "the authority's certificate is empty");
	assert_int_equal(signer_open(ca.text, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", &s, error), -EINVAL);
	expect_in(error, "can not be read");
	assert_int_equal(signer_open(key.text, key.text, &s, error), -EINVAL);
	assert_null(s);
	assert_int_equal(signer_make("", now_s, now_s + 60, &ca, &key), -EINVAL);
	pem_free(&ca);
	pem_free(&key);
	pem_free(&other_ca);
	pem_free(&other_key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_made_and_read, setup),
		cmocka_unit_test_setup(test_each_key_is_new, setup),
		cmocka_unit_test_setup(test_longest_name, setup),
		cmocka_unit_test_setup(test_of_openssl, setup),
		cmocka_unit_test_setup(test_refused, setup),
		cmocka_unit_test_setup(test_every_byte_counts, setup),
		cmocka_unit_test_setup(test_signed, setup),
		cmocka_unit_test_setup(test_serials_differ, setup),
		cmocka_unit_test_setup(test_not_longer_than_the_authority, setup),
		cmocka_unit_test_setup(test_authorities_that_are_wrong, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
