/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Loading the node's certificates: what is taken, and one sentence for each thing that can be wrong. */
#include "tls/ca.h"
#include "tls/cred.h"
#include "tls/pem.h"
#include "tls_pair.h"
#include "unit/pki.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { DAY_S = 24 * 3600 };

static char dir[TLS_DIR_BYTES];
static unsigned serial;

/* A folder of its own for each test, with a good identity of node1. */
static int setup(void **state)
{
	struct ca_leaf leaf = tls_leaf();
	char name[32];

	(void)state;
	snprintf(name, sizeof(name), "cred%u", serial++);
	tls_issue(name, &leaf, dir);
	return 0;
}

static char *path(const char *file)
{
	static char text[4][TLS_DIR_BYTES + 64];
	static unsigned turn;
	char *p = text[turn++ % 4];

	snprintf(p, sizeof(text[0]), "%s/%s", dir, file);
	return p;
}

__attribute__((format(printf, 1, 2))) static void shell(const char *format, ...)
{
	char command[4096];
	va_list args;
	int n = snprintf(command, sizeof(command), "cd %s && ", dir);

	va_start(args, format);
	vsnprintf(command + n, sizeof(command) - (size_t)n, format, args);
	va_end(args);
	if (system(command))
		fail_msg("%s", command);
}

static void expect_good_as(const struct tls_name *expected, struct cred_info *info)
{
	struct tls_ctx *ctx = NULL;
	char error[CRED_ERROR_BYTES] = "";

	if (cred_load(dir, expected, &ctx, info, error))
		fail_msg("%s", error);
	tls_ctx_unref(ctx);
}

static void expect_good(struct cred_info *info)
{
	expect_good_as(&pki_get()->nodes[0].name, info);
}

/* Whether text begins with wanted, in which # stands for a number: how long base64 is depends on a signature's bytes. */
static bool begins_with(const char *text, const char *wanted)
{
	for (; *wanted; wanted++) {
		if (*wanted == '#') {
			if (!strchr("0123456789", *text) || !*text)
				return false;
			text += strspn(text, "0123456789");
		} else if (*text++ != *wanted) {
			return false;
		}
	}
	return true;
}

static void expect_fault_as(const struct tls_name *expected, int r, const char *sentence)
{
	struct tls_ctx *ctx = (struct tls_ctx *)&dir;
	struct cred_info info = { .has_crl = true };
	char error[CRED_ERROR_BYTES] = "", wanted[CRED_ERROR_BYTES];
	int found = cred_load(dir, expected, &ctx, &info, error);

	snprintf(wanted, sizeof(wanted), "%s/%s", dir, sentence);
	if (!begins_with(error, wanted))
		fail_msg("\"%s\" does not say \"%s\"", error, wanted);
	assert_int_equal(found, r);
	assert_ptr_equal(ctx, &dir);
	assert_true(info.has_crl);
}

static void expect_fault(const char *sentence)
{
	expect_fault_as(&pki_get()->nodes[0].name, -EINVAL, sentence);
}

static void reissue(const struct ca_leaf *leaf)
{
	char error[CA_ERROR_BYTES];

	assert_int_equal(ca_issue(pki_get()->ca_dir, dir, leaf, error), 0);
}

static void test_good(void **state)
{
	struct cred_info info, again;

	(void)state;
	expect_good(&info);
	assert_string_equal(info.self.names[0].text, pki_get()->nodes[0].name.text);
	assert_int_equal(info.authorities_count, 1);
	assert_string_equal(info.authorities[0].subject, "/CN=Culvert CA");
	assert_false(info.has_crl);
	assert_true(info.not_before_s < info.self.not_after_s);
	expect_good(&again);
	assert_memory_equal(info.digest, again.digest, sizeof(info.digest));
	/* Any change of any file shows. */
	shell("echo >> ca.crt");
	expect_good(&again);
	assert_memory_not_equal(info.digest, again.digest, sizeof(info.digest));
}

static void test_any_name_will_do(void **state)
{
	struct cred_info info;

	(void)state;
	expect_good_as(NULL, &info);
}

static void test_missing_files(void **state)
{
	(void)state;
	unlink(path("ca.crt"));
	expect_fault("ca.crt: is missing");
	unlink(path("tls.key"));
	expect_fault("tls.key: is missing");
	unlink(path("tls.crt"));
	expect_fault("tls.crt: is missing, and so is tls.pem");
}

static void expect_fault_of_folder(const char *sentence, int r)
{
	struct tls_ctx *ctx = NULL;
	struct cred_info info;
	char error[CRED_ERROR_BYTES] = "";

	assert_int_equal(cred_load(dir, NULL, &ctx, &info, error), r);
	assert_string_equal(error, sentence);
}

static void test_missing_folder(void **state)
{
	char wanted[CRED_ERROR_BYTES];

	(void)state;
	snprintf(dir, sizeof(dir), "%s/nowhere", pki_get()->dir);
	snprintf(wanted, sizeof(wanted), "%s: No such file or directory", dir);
	expect_fault_of_folder(wanted, -ENOENT);
	snprintf(dir, sizeof(dir), "/proc/self/status");
	expect_fault_of_folder("/proc/self/status: Not a directory", -ENOTDIR);
}

static void test_damaged_files(void **state)
{
	static const char *const files[] = { "tls.crt", "tls.key", "ca.crt" };
	char sentence[160];

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		const char *f = files[i];

		setup(state);
		shell(": > %s", f);
		snprintf(sentence, sizeof(sentence), "%s: is empty: PEM blocks", f);
		expect_fault(sentence);
		shell("printf '  \\n\\n' > %s", f);
		expect_fault(sentence);
		shell("echo hello > %s", f);
		snprintf(sentence, sizeof(sentence), "%s: holds no PEM block", f);
		expect_fault(sentence);
		setup(state);
		shell("head -n 3 %s > x && mv x %s", f, f);
		snprintf(sentence, sizeof(sentence), "%s: line 1: is cut: the block that begins here has no -----END line", f);
		expect_fault(sentence);
		setup(state);
		shell("sed -i '2s/.*/!!!not base64!!!/' %s", f);
		snprintf(sentence, sizeof(sentence), "%s: line 1: is damaged: the block that begins here is not base64", f);
		expect_fault(sentence);
		setup(state);
		shell("sed -i 's/-----END [A-Z ]*/-----END SOMETHING/' %s", f);
		snprintf(sentence, sizeof(sentence), "%s: line ", f);
		expect_fault(sentence);
		setup(state);
		/* Whole lines gone from the middle: base64 is fine, what it holds is not. */
		shell("sed -i '3d' %s", f);
		snprintf(sentence, sizeof(sentence), "%s: line 1: the ", f);
		expect_fault(sentence);
		setup(state);
		unlink(path(f));
		assert_int_equal(mkfifo(path(f), 0600), 0);
		snprintf(sentence, sizeof(sentence), "%s: is no regular file", f);
		expect_fault(sentence);
	}
	setup(state);
	assert_int_equal(truncate(path("ca.crt"), 9 << 20), 0);
	expect_fault("ca.crt: has 9437184 bytes, at most 8388608 are read");
}

static void test_wrong_things_in_files(void **state)
{
	(void)state;
	shell("cat tls.key >> tls.crt");
	expect_fault("tls.crt: line #: holds a PRIVATE KEY where a CERTIFICATE should be");
	setup(state);
	shell("cat tls.key >> ca.crt");
	expect_fault("ca.crt: line #: holds a PRIVATE KEY where an authority's CERTIFICATE should be");
	setup(state);
	shell("cp tls.crt tls.key");
	expect_fault("tls.key: line 1: holds a CERTIFICATE where a PRIVATE KEY should be");
	setup(state);
	shell("cat tls.key > x && cat x >> tls.key");
	expect_fault("tls.key: line #: holds a second private key, one is needed");
	setup(state);
	shell("cp ca.crt tls.crt");
	expect_fault("tls.crt: line 1: is an authority's certificate (/CN=Culvert CA), the node's own must come first");
	setup(state);
	shell("cp tls.crt ca.crt");
	expect_fault("ca.crt: line 1: is no authority's certificate, CA:TRUE and the key usage keyCertSign are needed (/CN=node1)");
	setup(state);
	shell("cat tls.crt > x && cat x >> tls.crt");
	expect_fault("tls.crt: line #: behind the node's own certificate only its authorities' may stand, this is none (/CN=node1)");
}

static void test_encrypted_keys(void **state)
{
	(void)state;
	shell("openssl pkey -in tls.key -aes128 -passout pass:secret -out x 2>/dev/null && mv x tls.key");
	expect_fault("tls.key: line 1: holds an encrypted private key: it must be stored unencrypted");
	setup(state);
	shell("openssl ec -in tls.key -aes128 -passout pass:secret -out x 2>/dev/null && mv x tls.key");
	expect_fault("tls.key: holds an encrypted private key: it must be stored unencrypted");
}

static void test_key_of_another_certificate(void **state)
{
	(void)state;
	shell("cp %s/tls.key tls.key", pki_get()->nodes[1].dir);
	expect_fault("tls.key: line 1: the private key does not belong to the certificate in tls.crt");
}

static void test_times(void **state)
{
	struct ca_leaf leaf = tls_leaf();

	(void)state;
	leaf.not_before_s = 978307200;
	leaf.not_after_s = 978307200 + DAY_S;
	reissue(&leaf);
	expect_fault("tls.crt: line 1: the certificate expired on 2001-01-02T00:00:00Z, by this node's clock it is 2");
	leaf.not_before_s = 4102444800;
	leaf.not_after_s = 4102444800 + DAY_S;
	reissue(&leaf);
	expect_fault("tls.crt: line 1: the certificate is not valid before 2100-01-01T00:00:00Z, by this node's clock it is 2");
}

static void test_usages(void **state)
{
	struct ca_leaf leaf = tls_leaf();

	(void)state;
	leaf.has_client_usage = false;
	reissue(&leaf);
	expect_fault("tls.crt: the certificate has serverAuth alone, both extended key usages serverAuth and clientAuth are needed");
	leaf.has_client_usage = true;
	leaf.has_server_usage = false;
	reissue(&leaf);
	expect_fault("tls.crt: the certificate has clientAuth alone,");
	leaf.has_client_usage = false;
	reissue(&leaf);
	expect_fault("tls.crt: the certificate has neither of them,");
}

static void test_names(void **state)
{
	struct tls_name dns = { TLS_NAME_DNS, "spiffe://cluster.local/ns/culvert/node/node1" };
	struct tls_name wildcard = { TLS_NAME_DNS, "*.example" };
	struct ca_leaf leaf = tls_leaf();
	struct cred_info info;

	(void)state;
	expect_fault_as(&pki_get()->nodes[1].name, -EINVAL,
	                "tls.crt: the certificate is for URI:spiffe://cluster.local/ns/culvert/node/node1, this node's must be for "
	                "URI:spiffe://cluster.local/ns/culvert/node/node2");
	/* The same text as another type of name is another name. */
	expect_fault_as(&dns, -EINVAL,
	                "tls.crt: the certificate is for URI:spiffe://cluster.local/ns/culvert/node/node1, this node's must be for DNS:");
	leaf.more_names = &leaf.name;
	leaf.more_names_count = 1;
	reissue(&leaf);
	expect_fault("tls.crt: the certificate holds the name URI:spiffe://cluster.local/ns/culvert/node/node1 2 times, once is right");
	leaf.more_names = &wildcard;
	reissue(&leaf);
	expect_fault("tls.crt: the certificate holds the wildcard DNS:*.example, which names no single node");
	strcpy(wildcard.text, "node1.example");
	reissue(&leaf);
	expect_good(&info);
	assert_int_equal(info.self.names_count, 2);
	expect_good_as(&wildcard, &info);
}

static void test_no_name(void **state)
{
	(void)state;
	shell("openssl req -new -key tls.key -subj /CN=node1 -out r.csr 2>/dev/null && printf "
	      "'extendedKeyUsage=serverAuth,clientAuth\\n' > ext && "
	      "openssl x509 -req -in r.csr -CA %s/ca.crt -CAkey %s/ca.key -days 2 -extfile ext -out tls.crt 2>/dev/null",
	      pki_get()->ca_dir, pki_get()->ca_dir);
	expect_fault("tls.crt: the certificate holds no URI or DNS name (subject alternative name)");
}

static void test_other_authority(void **state)
{
	char error[CA_ERROR_BYTES];

	(void)state;
	assert_int_equal(ca_init(path("other"), "Another CA", 0, error), 0);
	shell("cp other/ca.crt ca.crt");
	expect_fault(
		"tls.crt: the certificate was issued by /CN=Culvert CA, which is no valid authority of ca.crt (it holds /CN=Another CA)");
}

static void test_several_authorities_and_old_ones(void **state)
{
	struct cred_info info;
	char error[CA_ERROR_BYTES];

	(void)state;
	assert_int_equal(ca_init(path("other"), "Another CA", 0, error), 0);
	shell("(openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout o.key -subj '/CN=Old CA' -out o.csr && "
	      "printf 'basicConstraints=critical,CA:TRUE\\nkeyUsage=critical,keyCertSign\\n' > ext && "
	      "openssl x509 -req -in o.csr -signkey o.key -days -1 -extfile ext -out old.crt) 2>/dev/null");
	shell("cat ca.crt > mine && cat other/ca.crt old.crt mine > ca.crt");
	expect_good(&info);
	assert_int_equal(info.authorities_count, 3);
	assert_string_equal(info.authorities[0].subject, "/CN=Another CA");
	assert_string_equal(info.authorities[1].subject, "/CN=Old CA");
	assert_true(info.authorities[1].not_after_s < info.authorities[0].not_after_s);
	shell("cat old.crt > ca.crt");
	expect_fault("ca.crt: no authority in it is valid now; the first, /CN=Old CA, is valid until 2");
	shell(": > ca.crt; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17; do cat mine >> ca.crt; done");
	expect_fault("ca.crt: holds 17 blocks, at most 16 authorities are taken");
}

static void test_bundle(void **state)
{
	struct cred_info info;

	(void)state;
	shell("cat tls.key tls.crt > tls.pem");
	expect_fault("tls.pem: stands beside tls.crt: which of them counts is not clear, remove one");
	unlink(path("tls.crt"));
	expect_fault("tls.pem: stands beside tls.key: which of them counts is not clear, remove one");
	shell("mv tls.key key");
	expect_good(&info);
	shell("csplit -s -f part tls.pem '/BEGIN CERT/' && cat part01 part00 > tls.pem");
	expect_fault("tls.pem: line 1: a certificate stands before the private key, which must come first in a bundle");
	shell("cp part00 tls.pem");
	expect_fault("tls.pem: holds no certificate");
	shell("cp part01 tls.pem");
	expect_fault("tls.pem: line 1: a certificate stands before the private key");
}

static void test_forms_of_keys(void **state)
{
	struct cred_info info;

	(void)state;
	shell("openssl ec -in tls.key -out x 2>/dev/null && openssl ecparam -name prime256v1 -out y && cat y x > tls.key && grep "
	      "-q 'EC PARAMETERS' tls.key");
	expect_good(&info);
	/* RSA and Ed25519 keys, by openssl, in the forms that it writes. */
	for (int i = 0; i < 3; i++) {
		static const char *const makes[] = { "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out tls.key",
			                             "openssl rsa -traditional -in tls.key -out x && mv x tls.key",
			                             "openssl genpkey -algorithm ed25519 -out tls.key" };

		shell("(%s) 2>/dev/null", makes[i]);
		shell("(openssl req -new -key tls.key -subj /CN=node1 -out r.csr && "
		      "printf 'extendedKeyUsage=serverAuth,clientAuth\\nsubjectAltName=URI:%s\\n' > ext && "
		      "openssl x509 -req -in r.csr -CA %s/ca.crt -CAkey %s/ca.key -days 2 -extfile ext -out tls.crt) 2>/dev/null",
		      pki_get()->nodes[0].name.text, pki_get()->ca_dir, pki_get()->ca_dir);
		expect_good(&info);
	}
	shell("(openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out tls.key && openssl req -new -key tls.key -subj "
	      "/CN=node1 -out r.csr && "
	      "openssl x509 -req -in r.csr -CA %s/ca.crt -CAkey %s/ca.key -days 2 -extfile ext -out tls.crt) 2>/dev/null",
	      pki_get()->ca_dir, pki_get()->ca_dir);
	expect_fault("tls.crt: the certificate can not be used: ");
}

static void test_intermediate(void **state)
{
	struct cred_info info;

	(void)state;
	shell("(openssl ecparam -name prime256v1 -genkey -noout -out i.key && openssl req -new -key i.key -subj '/CN=Middle CA' "
	      "-out i.csr && "
	      "printf 'basicConstraints=critical,CA:TRUE\\nkeyUsage=critical,keyCertSign,cRLSign\\nsubjectKeyIdentifier=hash\\n' > iext && "
	      "openssl x509 -req -in i.csr -CA %s/ca.crt -CAkey %s/ca.key -days 2 -extfile iext -out i.crt && "
	      "openssl req -new -key tls.key -subj /CN=node1 -out r.csr && printf "
	      "'extendedKeyUsage=serverAuth,clientAuth\\nsubjectAltName=URI:%s\\n' > ext && "
	      "openssl x509 -req -in r.csr -CA i.crt -CAkey i.key -days 2 -extfile ext -out leaf.crt) 2>/dev/null",
	      pki_get()->ca_dir, pki_get()->ca_dir, pki_get()->nodes[0].name.text);
	shell("cat leaf.crt i.crt > tls.crt");
	expect_good(&info);
	shell("cp leaf.crt tls.crt");
	expect_fault(
		"tls.crt: the certificate was issued by /CN=Middle CA, which is no valid authority of ca.crt (it holds /CN=Culvert CA)");
	/* An intermediate may itself be the trusted one. */
	shell("cp i.crt ca.crt");
	expect_good(&info);
}

static void test_end_is_the_authority_s_where_that_comes_first(void **state)
{
	struct ca_leaf leaf = tls_leaf();
	struct cred_info info;
	char error[CA_ERROR_BYTES];

	(void)state;
	assert_int_equal(ca_init(path("short"), "Short CA", 2, error), 0);
	assert_int_equal(ca_issue(path("short"), dir, &leaf, error), 0);
	expect_good(&info);
	assert_int_equal(info.self.not_after_s, info.authorities[0].not_after_s);
	assert_true(info.self.not_after_s < leaf.not_after_s);
}

static void make_list(const char *const *serials, size_t count, int days)
{
	char error[CA_ERROR_BYTES];

	assert_int_equal(ca_revoke(pki_get()->ca_dir, path("crl.pem"), serials, count, 1, days, error), 0);
}

static void test_revocation_lists(void **state)
{
	struct cred_info info;
	char error[CA_ERROR_BYTES];
	const char *own;

	(void)state;
	make_list(NULL, 0, 0);
	expect_good(&info);
	assert_true(info.has_crl);
	own = info.self.serial;
	make_list(&own, 1, 0);
	expect_fault("tls.crt: no other node would take it: the other node's certificate is revoked by crl.pem");
	make_list(NULL, 0, -1);
	expect_fault("crl.pem: line 1: the revocation list is out of date, its next was due on 2");
	make_list(NULL, 0, 0);
	assert_int_equal(ca_init(path("other"), "Another CA", 0, error), 0);
	shell("cp ca.crt mine && cat other/ca.crt >> ca.crt");
	expect_fault("crl.pem: holds no list of the authority in line # of ca.crt; each authority needs one");
	assert_int_equal(ca_revoke(path("other"), path("other.pem"), NULL, 0, 1, 0, error), 0);
	shell("cat other.pem >> crl.pem");
	expect_good(&info);
	shell("cp mine ca.crt");
	expect_fault("crl.pem: line #: the revocation list is of an authority that ca.crt does not hold");
	shell("cp ca.crt crl.pem");
	expect_fault("crl.pem: line 1: holds a CERTIFICATE where an X509 CRL should be");
	/* The list of a forger who only knows the authority's name. */
	shell("rm -r other");
	assert_int_equal(ca_init(path("other"), NULL, 0, error), 0);
	assert_int_equal(ca_revoke(path("other"), path("crl.pem"), NULL, 0, 9, 0, error), 0);
	expect_fault("crl.pem: list 1 in it can not be used: ");
	shell(": > crl.pem");
	expect_fault("crl.pem: is empty");
}

static void test_one_generation_behind_data(void **state)
{
	struct cred_info info;

	(void)state;
	/* As Kubernetes lays a projected volume out. What lies in the folder itself must not count. */
	shell("mkdir ..one && mv tls.crt tls.key ca.crt ..one && ln -s ..one ..data && ln -s ..data/tls.crt ..data/tls.key "
	      "..data/ca.crt .");
	expect_good(&info);
	shell("rm tls.crt && echo nonsense > tls.crt");
	expect_good(&info);
	shell("rm ..data && ln -s ..nowhere ..data");
	expect_fault("tls.crt: ");
	shell("rm ..data && echo x > ..data");
	expect_fault_as(NULL, -ENOTDIR, "..data: Not a directory");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_good, setup),
		cmocka_unit_test_setup(test_any_name_will_do, setup),
		cmocka_unit_test_setup(test_missing_files, setup),
		cmocka_unit_test_setup(test_missing_folder, setup),
		cmocka_unit_test_setup(test_damaged_files, setup),
		cmocka_unit_test_setup(test_wrong_things_in_files, setup),
		cmocka_unit_test_setup(test_encrypted_keys, setup),
		cmocka_unit_test_setup(test_key_of_another_certificate, setup),
		cmocka_unit_test_setup(test_times, setup),
		cmocka_unit_test_setup(test_usages, setup),
		cmocka_unit_test_setup(test_names, setup),
		cmocka_unit_test_setup(test_no_name, setup),
		cmocka_unit_test_setup(test_other_authority, setup),
		cmocka_unit_test_setup(test_several_authorities_and_old_ones, setup),
		cmocka_unit_test_setup(test_bundle, setup),
		cmocka_unit_test_setup(test_forms_of_keys, setup),
		cmocka_unit_test_setup(test_intermediate, setup),
		cmocka_unit_test_setup(test_end_is_the_authority_s_where_that_comes_first, setup),
		cmocka_unit_test_setup(test_revocation_lists, setup),
		cmocka_unit_test_setup(test_one_generation_behind_data, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
