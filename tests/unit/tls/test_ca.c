/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The authority, judged by openssl; and reading what it and others make. */
#include "tls/ca.h"
#include "tls/cert.h"
#include "tls/crl.h"
#include "tls/ctx.h"
#include "tls/pem.h"
#include "tls/verify.h"
#include "unit/pki.h"

#include <wolfssl/error-ssl.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "unit/command.h"

/* wolfSSL 5.7 can not mark basic constraints as critical. */
#if TLS_HAS_HYBRID
#define STRICT "-x509_strict"
#else
#define STRICT ""
#endif

enum { DAY_S = 24 * 3600 };

static char dir[160];
static unsigned number;

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "%s/ca%u", pki_get()->dir, number++);
	return 0;
}

static mode_t mode_of(const char *file)
{
	char path[256];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 07777;
}

static struct tls_name name_of(enum tls_name_type type, const char *text)
{
	struct tls_name n = { .type = type };

	snprintf(n.text, sizeof(n.text), "%s", text);
	return n;
}

static void make(void)
{
	char error[CA_ERROR_BYTES] = "";

	if (ca_init(dir, NULL, 0, error))
		fail_msg("%s", error);
}

static void test_authority(void **state)
{
	const char *text;

	(void)state;
	make();
	assert_int_equal(mode_of("ca.key"), 0600);
	assert_int_equal(mode_of("ca.crt"), 0644);
	assert_int_equal(mode_of("."), 0700);
	text = command_output("openssl x509 -in %s/ca.crt -noout -text 2>&1", dir);
	expect_in(text, "Version: 3");
	expect_in(text, "Subject: CN = Culvert CA\n");
	expect_in(text, "Issuer: CN = Culvert CA\n");
	expect_in(text, "ecdsa-with-SHA256");
	expect_in(text, "prime256v1");
	expect_in(text, "CA:TRUE");
	expect_in(text, "Certificate Sign, CRL Sign");
	command_output("openssl verify " STRICT " -CAfile %s/ca.crt %s/ca.crt 2>&1", dir, dir);
	expect_in(command_output("ls -A %s", dir), "ca.crt\nca.key\n");
}

static void test_authority_is_never_overwritten(void **state)
{
	char error[CA_ERROR_BYTES] = "", before[2048];

	(void)state;
	make();
	snprintf(before, sizeof(before), "%s", command_output("cat %s/ca.key %s/ca.crt", dir, dir));
	assert_int_equal(ca_init(dir, NULL, 0, error), -EEXIST);
	expect_in(error, "holds an authority already, which is never overwritten");
	command_output("rm %s/ca.crt", dir);
	assert_int_equal(ca_init(dir, NULL, 0, error), -EEXIST);
	expect_in(before, command_output("cat %s/ca.key", dir));
}

static void test_bad_arguments(void **state)
{
	struct tls_name name = name_of(TLS_NAME_DNS, "n"), none = name_of(TLS_NAME_DNS, "");
	char error[CA_ERROR_BYTES] = "", out[256];
	struct ca_leaf leaf = ca_leaf_default("n", &name, 0);

	(void)state;
	assert_int_equal(ca_init(dir, "0123456789012345678901234567890123456789012345678901234567890123", 0, error), -EINVAL);
	expect_in(error, "1 to 63 bytes");
	assert_int_equal(ca_init(dir, NULL, -1, error), -EINVAL);
	assert_int_equal(access(dir, F_OK), -1);
	assert_int_equal(ca_init("/proc/nowhere", NULL, 0, error), -ENOENT);
	expect_in(error, "/proc/nowhere: can not be made");
	snprintf(out, sizeof(out), "%s/n", dir);
	assert_int_equal(ca_issue(dir, out, &leaf, error), -ENOENT);
	make();
	leaf.not_after_s = leaf.not_before_s;
	assert_int_equal(ca_issue(dir, out, &leaf, error), -EINVAL);
	expect_in(error, "would end before it begins");
	leaf = ca_leaf_default("n", &none, 0);
	assert_int_equal(ca_issue(dir, out, &leaf, error), -EINVAL);
	leaf = ca_leaf_default("", &name, 0);
	assert_int_equal(ca_issue(dir, out, &leaf, error), -EINVAL);
	assert_int_equal(access(out, F_OK), -1);
	command_output("cp %s/ca.crt %s/ca.key", dir, dir);
	leaf = ca_leaf_default("n", &name, 0);
	assert_int_equal(ca_issue(dir, out, &leaf, error), -EINVAL);
	expect_in(error, "ca.key: holds no EC private key");
	command_output("openssl ecparam -name prime256v1 -genkey -noout -out %s/ca.key 2>&1", dir);
	assert_int_equal(ca_issue(dir, out, &leaf, error), -EINVAL);
	expect_in(error, "ca.key: does not belong to the certificate in");
}

static void test_leaf(void **state)
{
	struct tls_name name = name_of(TLS_NAME_URI, "spiffe://example.org/a"), more = name_of(TLS_NAME_DNS, "a.example.org");
	char error[CA_ERROR_BYTES] = "", out[256];
	struct ca_leaf leaf = ca_leaf_default("node-a", &name, 7);
	const char *text;

	(void)state;
	make();
	leaf.more_names = &more;
	leaf.more_names_count = 1;
	snprintf(out, sizeof(out), "%s/n", dir);
	assert_int_equal(ca_issue(dir, out, &leaf, error), 0);
	assert_int_equal(mode_of("n/tls.key"), 0600);
	assert_int_equal(mode_of("n/tls.crt"), 0644);
	command_output("cmp %s/ca.crt %s/n/ca.crt", dir, dir);
	command_output("openssl verify " STRICT " -purpose sslserver -CAfile %s/ca.crt %s/n/tls.crt 2>&1", dir, dir);
	command_output("openssl verify " STRICT " -purpose sslclient -CAfile %s/ca.crt %s/n/tls.crt 2>&1", dir, dir);
	text = command_output("openssl x509 -in %s/n/tls.crt -noout -text 2>&1", dir);
	expect_in(text, "Subject: CN = node-a\n");
	expect_in(text, "URI:spiffe://example.org/a, DNS:a.example.org\n");
	expect_in(text, "TLS Web Server Authentication, TLS Web Client Authentication\n");
	expect_in(text, "Digital Signature\n");
	command_output("openssl x509 -in %s/n/tls.crt -noout -checkend %d", dir, 7 * DAY_S - 60);
	command_output("! openssl x509 -in %s/n/tls.crt -noout -checkend %d", dir, 7 * DAY_S + 60);
	command_output("openssl pkey -in %s/n/tls.key -pubout -out %s/a && openssl x509 -in %s/n/tls.crt -noout -pubkey -out %s/b 2>&1; "
	               "cmp %s/a %s/b",
	               dir, dir, dir, dir, dir, dir);
	/* Issued again: another key and serial, in the same place, and no leftovers. */
	command_output("cp -r %s/n %s/old", dir, dir);
	assert_int_equal(ca_issue(dir, out, &leaf, error), 0);
	command_output("! cmp -s %s/n/tls.key %s/old/tls.key && ! cmp -s %s/n/tls.crt %s/old/tls.crt", dir, dir, dir, dir);
	assert_string_equal(command_output("ls -A %s/n", dir), "ca.crt\ntls.crt\ntls.key\n");
}

static void test_key_as_openssl_writes_it(void **state)
{
	struct tls_name name = name_of(TLS_NAME_DNS, "n");
	struct ca_leaf leaf = ca_leaf_default("n", &name, 0);
	char error[CA_ERROR_BYTES] = "", out[256];

	(void)state;
	snprintf(out, sizeof(out), "%s/n", dir);
	command_output("mkdir %s && cd %s && openssl ecparam -name prime256v1 -genkey -noout -out ca.key && openssl req -x509 -new -key "
	               "ca.key -subj '/O=Us/CN=Ours' "
	               "-days 9 -addext keyUsage=critical,keyCertSign,cRLSign -out ca.crt 2>&1",
	               dir, dir);
	if (ca_issue(dir, out, &leaf, error))
		fail_msg("%s", error);
	command_output("openssl verify " STRICT " -CAfile %s/ca.crt %s/n/tls.crt 2>&1", dir, dir);
	expect_in(command_output("openssl x509 -in %s/n/tls.crt -noout -issuer", dir), "O = Us, CN = Ours");
}

static void test_expired_authority_issues_nothing(void **state)
{
	struct tls_name name = name_of(TLS_NAME_DNS, "n");
	struct ca_leaf leaf = ca_leaf_default("n", &name, 0);
	char error[CA_ERROR_BYTES] = "", out[256];

	(void)state;
	snprintf(out, sizeof(out), "%s/n", dir);
	command_output("mkdir %s && cd %s && (openssl ecparam -name prime256v1 -genkey -noout -out ca.key && openssl req -new -key ca.key "
	               "-subj '/CN=Old' -out r && "
	               "printf 'basicConstraints=critical,CA:TRUE\\nsubjectKeyIdentifier=hash\\n' > e && openssl x509 -req -in r -signkey "
	               "ca.key -days -1 -extfile e "
	               "-out ca.crt) 2>&1",
	               dir, dir);
	assert_int_equal(ca_issue(dir, out, &leaf, error), -EINVAL);
	expect_in(error, "ca.crt: the authority expired on 2");
}

static void test_times_of_all_forms(void **state)
{
	static const int64_t times_s[] = { 0, 946684799, 946684800, 2524607999, 2524608000, 4102444800, 253402300799 };
	struct tls_name name = name_of(TLS_NAME_DNS, "n");
	char error[CA_ERROR_BYTES] = "", out[256], fault[CERT_FAULT_BYTES], path[300], text[8192];

	(void)state;
	make();
	snprintf(out, sizeof(out), "%s/n", dir);
	for (size_t i = 0; i + 1 < sizeof(times_s) / sizeof(times_s[0]); i++) {
		struct ca_leaf leaf = ca_leaf_default("n", &name, 0);
		struct cert cert;
		struct pem pem;
		unsigned line;
		size_t n;
		FILE *f;

		leaf.not_before_s = times_s[i];
		leaf.not_after_s = times_s[i + 1];
		assert_int_equal(ca_issue(dir, out, &leaf, error), 0);
		snprintf(path, sizeof(path), "%s/tls.crt", out);
		f = fopen(path, "re");
		n = fread(text, 1, sizeof(text), f);
		fclose(f);
		assert_int_equal(pem_parse(text, n, &pem, &line), PEM_OK);
		assert_int_equal(cert_read(pem.blocks[0].der, pem.blocks[0].len_bytes, &cert, fault), 0);
		assert_int_equal(cert.not_before_s, times_s[i]);
		assert_int_equal(cert.peer.not_after_s, times_s[i + 1]);
		pem_done(&pem);
	}
	/* The last one by openssl's eyes. */
	expect_in(command_output("openssl x509 -in %s/n/tls.crt -noout -dates", dir),
	          "notBefore=Jan  1 00:00:00 2100 GMT\nnotAfter=Dec 31 23:59:59 9999 GMT\n");
}

static void test_revocation_list(void **state)
{
	static const char *const serials[] = { "0a", "ff00000000000000000000000000000001", "7f" };
	static const char *const bad[] = { "1", "", "xy", "12 34" };
	char error[CA_ERROR_BYTES] = "", path[256];
	const char *text;

	(void)state;
	make();
	snprintf(path, sizeof(path), "%s/crl.pem", dir);
	assert_int_equal(ca_revoke(dir, path, serials, 3, 258, 3, error), 0);
	text = command_output("openssl crl -in %s -CAfile %s/ca.crt -noout -text 2>&1", path, dir);
	expect_in(text, "verify OK");
	expect_in(text, "Serial Number: 0A\n");
	expect_in(text, "Serial Number: FF00000000000000000000000000000001\n");
	expect_in(text, "Serial Number: 7F\n");
	expect_in(text, "X509v3 CRL Number: \n                258\n");
	assert_int_equal(ca_revoke(dir, path, NULL, 0, 259, 0, error), 0);
	expect_in(command_output("openssl crl -in %s -CAfile %s/ca.crt -noout -text 2>&1", path, dir), "No Revoked Certificates");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(ca_revoke(dir, path, &bad[i], 1, 1, 0, error), -EINVAL);
		expect_in(error, "is no serial number");
	}
}

static void test_large_revocation_list(void **state)
{
	enum { COUNT = 3000 };
	const char **serials = malloc(COUNT * sizeof(*serials));
	char(*texts)[16] = malloc(COUNT * sizeof(*texts)), error[CA_ERROR_BYTES] = "", path[256];

	(void)state;
	make();
	for (int i = 0; i < COUNT; i++) {
		snprintf(texts[i], sizeof(texts[i]), "%06x", i + 1);
		serials[i] = texts[i];
	}
	snprintf(path, sizeof(path), "%s/crl.pem", dir);
	assert_int_equal(ca_revoke(dir, path, serials, COUNT, 1, 0, error), 0);
	assert_string_equal(command_output("openssl crl -in %s -CAfile %s/ca.crt -noout -text 2>/dev/null | grep -c 'Serial Number'", path,
	                                   dir),
	                    "3000\n");
	free(serials);
	free(texts);
}

/* --- reading --- */

static struct pem read_leaf(void)
{
	char path[200], text[8192];
	struct pem pem;
	unsigned line;
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "%s/tls.crt", pki_get()->nodes[0].dir);
	f = fopen(path, "re");
	n = fread(text, 1, sizeof(text), f);
	fclose(f);
	assert_int_equal(pem_parse(text, n, &pem, &line), PEM_OK);
	return pem;
}

static void test_nul_in_a_name(void **state)
{
	struct pem pem = read_leaf();
	char fault[CERT_FAULT_BYTES] = "";
	struct cert cert;
	uint8_t *at;

	(void)state;
	at = memmem(pem.blocks[0].der, pem.blocks[0].len_bytes, "/node/node1", 11);
	assert_non_null(at);
	at[5] = '\0';
	assert_int_equal(cert_read(pem.blocks[0].der, pem.blocks[0].len_bytes, &cert, fault), -EINVAL);
	/* The library may refuse it before us. */
	assert_true(strstr(fault, "NUL byte inside") || strstr(fault, "can not be read"));
	pem_done(&pem);
}

static void test_cut_certificates(void **state)
{
	struct pem pem = read_leaf();
	char fault[CERT_FAULT_BYTES];
	struct cert cert;

	(void)state;
	for (size_t n = 0; n < pem.blocks[0].len_bytes; n++) {
		uint8_t *copy = malloc(n ? n : 1);

		/* A copy of its own, so that reading beyond it is seen. */
		memcpy(copy, pem.blocks[0].der, n);
		assert_int_equal(cert_read(copy, n, &cert, fault), -EINVAL);
		free(copy);
	}
	pem_done(&pem);
}

static void test_long_name(void **state)
{
	struct tls_name name = { .type = TLS_NAME_URI };
	char error[CA_ERROR_BYTES] = "", out[256];
	struct ca_leaf leaf;

	(void)state;
	make();
	snprintf(out, sizeof(out), "%s/n", dir);
	memset(name.text, 'x', TLS_NAME_BYTES - 1);
	memcpy(name.text, "spiffe://", 9);
	leaf = ca_leaf_default("n", &name, 0);
	assert_int_equal(ca_issue(dir, out, &leaf, error), 0);
	expect_in(command_output("openssl x509 -in %s/n/tls.crt -noout -ext subjectAltName", dir), name.text);
	/* One byte more, by openssl. */
	command_output("cd %s && (openssl req -new -key n/tls.key -subj /CN=n -out r && printf "
	               "'extendedKeyUsage=serverAuth,clientAuth\\nsubjectAltName=URI:%sx' > e && "
	               "openssl x509 -req -in r -CA ca.crt -CAkey ca.key -days 2 -extfile e -out long.crt) 2>&1",
	               dir, name.text);
	{
		char path[256], text[8192], fault[CERT_FAULT_BYTES] = "";
		struct cert cert;
		struct pem pem;
		unsigned line;
		size_t n;
		FILE *f;

		snprintf(path, sizeof(path), "%s/long.crt", dir);
		f = fopen(path, "re");
		n = fread(text, 1, sizeof(text), f);
		fclose(f);
		assert_int_equal(pem_parse(text, n, &pem, &line), PEM_OK);
		assert_int_equal(cert_read(pem.blocks[0].der, pem.blocks[0].len_bytes, &cert, fault), -EINVAL);
		assert_string_equal(fault, "holds a name of 256 bytes, at most 255 are taken");
		pem_done(&pem);
	}
}

static void test_cut_lists(void **state)
{
	static const char *const serials[] = { "0a" };
	char path[256], text[8192], error[CA_ERROR_BYTES];
	struct pem pem;
	struct crl crl;
	unsigned line;
	size_t n;
	FILE *f;

	(void)state;
	make();
	snprintf(path, sizeof(path), "%s/crl.pem", dir);
	assert_int_equal(ca_revoke(dir, path, serials, 1, 1, 0, error), 0);
	f = fopen(path, "re");
	n = fread(text, 1, sizeof(text), f);
	fclose(f);
	assert_int_equal(pem_parse(text, n, &pem, &line), PEM_OK);
	assert_int_equal(crl_read(pem.blocks[0].der, pem.blocks[0].len_bytes, &crl), 0);
	assert_true(crl.has_next_update);
	assert_true(crl.next_update_s > time(NULL) + (CA_CRL_DAYS - 1) * DAY_S);
	for (n = 0; n < pem.blocks[0].len_bytes; n++) {
		uint8_t *copy = malloc(n ? n : 1);

		memcpy(copy, pem.blocks[0].der, n);
		assert_int_equal(crl_read(copy, n, &crl), -EINVAL);
		free(copy);
	}
	pem_done(&pem);
}

static void test_sentences_of_what_time_alone_can_show(void **state)
{
	char fault[TLS_ERROR_BYTES], text[CERT_TIME_BYTES];
	struct pem pem = read_leaf();
	struct cert cert;

	(void)state;
	assert_int_equal(cert_read(pem.blocks[0].der, pem.blocks[0].len_bytes, &cert, fault), 0);
	verify_describe(CRL_CERT_DATE_ERR, "the certificate", &cert, fault);
	assert_string_equal(fault, "the certificate can not be checked, the list of its issuer in crl.pem is out of date (/CN=Culvert CA): "
	                           "URI:spiffe://cluster.local/ns/culvert/node/node1");
	verify_describe(-9999, "the certificate", &cert, fault);
	expect_in(fault, "the certificate was refused (");
	assert_string_equal(cert_time_text(0, text), "1970-01-01T00:00:00Z");
	assert_string_equal(cert_time_text(INT64_MAX, text), "9223372036854775807");
	pem_done(&pem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_authority, setup),
		cmocka_unit_test_setup(test_authority_is_never_overwritten, setup),
		cmocka_unit_test_setup(test_bad_arguments, setup),
		cmocka_unit_test_setup(test_leaf, setup),
		cmocka_unit_test_setup(test_key_as_openssl_writes_it, setup),
		cmocka_unit_test_setup(test_expired_authority_issues_nothing, setup),
		cmocka_unit_test_setup(test_times_of_all_forms, setup),
		cmocka_unit_test_setup(test_revocation_list, setup),
		cmocka_unit_test_setup(test_large_revocation_list, setup),
		cmocka_unit_test_setup(test_nul_in_a_name, setup),
		cmocka_unit_test_setup(test_cut_certificates, setup),
		cmocka_unit_test_setup(test_long_name, setup),
		cmocka_unit_test_setup(test_cut_lists, setup),
		cmocka_unit_test_setup(test_sentences_of_what_time_alone_can_show, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
