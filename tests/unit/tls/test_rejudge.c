/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Sessions that run, judged again by the certificates that came since. */
#include "tls_pair.h"

#include "tls/cred.h"
#include "unit/pki.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct tls_pair pair; /* node1 is the client, node2 the server */

static int set_up(void **state)
{
	(void)state;
	tls_pair_open(&pair, pki_get()->nodes[0].ctx, pki_get()->nodes[1].ctx);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	tls_pair_destroy(&pair);
	return 0;
}

/* node2's next context: with ca_file (NULL: the authority of all), and a list that revokes serials. */
static struct tls_ctx *later(const char *ca_file, const char *const *serials, size_t count, bool has_list)
{
	const struct pki *pki = pki_get();
	char ca[TLS_DIR_BYTES], crl[TLS_DIR_BYTES], error[CA_ERROR_BYTES];
	static uint64_t number;

	snprintf(ca, sizeof(ca), "%s/ca.crt", pki->ca_dir);
	snprintf(crl, sizeof(crl), "%s/later.pem", pki->dir);
	if (has_list)
		assert_int_equal(ca_revoke(pki->ca_dir, crl, serials, count, ++number, 0, error), 0);
	return tls_ctx_unjudged(pki->nodes[1].dir, ca_file ? ca_file : ca, has_list ? crl : NULL);
}

static void expect(struct tls_ctx *ctx, const char *fault)
{
	char error[TLS_ERROR_BYTES] = "";

	assert_int_equal(tls_session_is_taken_by(pair.server, ctx, error), fault == NULL);
	if (fault)
		assert_non_null(strstr(error, fault));
	tls_ctx_unref(ctx);
}

static void nothing_has_changed(void **state)
{
	(void)state;
	expect(tls_ctx_ref(pki_get()->nodes[1].ctx), NULL);
	expect(later(NULL, NULL, 0, false), NULL);
}

static void a_list_that_names_others(void **state)
{
	const char *serials[] = { "00", "01", "7f", "ff00ff", pki_get()->nodes[1].info.self.serial };

	(void)state;
	expect(later(NULL, NULL, 0, true), NULL);
	expect(later(NULL, serials, 5, true), NULL);
}

static void it_is_revoked(void **state)
{
	const char *serials[] = { "01", "ff00ff", pki_get()->nodes[0].info.self.serial };

	(void)state;
	expect(later(NULL, serials, 3, true), "the other node's certificate is revoked by crl.pem");
	expect(later(NULL, serials + 2, 1, true), "the other node's certificate is revoked by crl.pem");
}

static void its_authority_is_gone(void **state)
{
	char dir[TLS_DIR_BYTES], file[TLS_DIR_BYTES + 16], error[CA_ERROR_BYTES];

	(void)state;
	snprintf(dir, sizeof(dir), "%s/next-ca", pki_get()->dir);
	assert_int_equal(ca_init(dir, "Next CA", 0, error), 0);
	snprintf(file, sizeof(file), "%s/ca.crt", dir);
	expect(later(file, NULL, 0, false), "was issued by an authority that ca.crt does not hold");
}

static void an_authority_of_the_same_name_is_not_its_own(void **state)
{
	char dir[TLS_DIR_BYTES], file[TLS_DIR_BYTES + 16], error[CA_ERROR_BYTES];

	(void)state;
	snprintf(dir, sizeof(dir), "%s/twin-ca", pki_get()->dir);
	assert_int_equal(ca_init(dir, NULL, 0, error), 0);
	snprintf(file, sizeof(file), "%s/ca.crt", dir);
	expect(later(file, NULL, 0, false), "was issued by an authority that ca.crt does not hold");
}

static void another_authority_came_beside_its_own(void **state)
{
	char dir[TLS_DIR_BYTES], file[TLS_DIR_BYTES], command[3 * TLS_DIR_BYTES + 64], error[CA_ERROR_BYTES];

	(void)state;
	snprintf(dir, sizeof(dir), "%s/second-ca", pki_get()->dir);
	assert_int_equal(ca_init(dir, "Second CA", 0, error), 0);
	snprintf(file, sizeof(file), "%s/two.crt", pki_get()->dir);
	snprintf(command, sizeof(command), "cat %s/ca.crt %s/ca.crt > %s", dir, pki_get()->ca_dir, file);
	assert_int_equal(system(command), 0);
	expect(later(file, NULL, 0, false), NULL);
}

/* node1's chain has an authority in the middle, which the files of node2 do not hold. */
static void a_chain_is_followed_to_its_end(void **state)
{
	const struct pki *pki = pki_get();
	char dir[TLS_DIR_BYTES], ca[TLS_DIR_BYTES], middle[TLS_DIR_BYTES], command[2048];
	struct tls_ctx *chained;

	(void)state;
	snprintf(dir, sizeof(dir), "%s/chained", pki->dir);
	snprintf(ca, sizeof(ca), "%s/ca.crt", pki->ca_dir);
	snprintf(
		command, sizeof(command),
		"cp -r %.120s %.120s && cd %.120s && (openssl ecparam -name prime256v1 -genkey -noout -out i.key && "
		"openssl req -new -key i.key -subj '/CN=Middle CA' -out i.csr && "
		"printf 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n' > iext && "
		"openssl x509 -req -in i.csr -CA ca.crt -CAkey %.120s/ca.key -CAserial s -CAcreateserial -days 2 -extfile iext -out i.crt && "
		"openssl req -new -key tls.key -subj /CN=node1 -out r.csr && "
		"printf 'extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=URI:%.120s\n' > ext && "
		"openssl x509 -req -in r.csr -CA i.crt -CAkey i.key -CAserial s -days 2 -extfile ext -out leaf.crt && "
		"cat leaf.crt i.crt > tls.crt) 2>/dev/null",
		pki->nodes[0].dir, dir, dir, pki->ca_dir, pki->nodes[0].name.text);
	assert_int_equal(system(command), 0);
	tls_pair_destroy(&pair);
	chained = tls_ctx_unjudged(dir, ca, NULL);
	tls_pair_open(&pair, chained, pki->nodes[1].ctx);
	tls_ctx_unref(chained);
	expect(later(NULL, NULL, 0, false), NULL);
	/* No list of the one in the middle: a new handshake would not pass either. */
	expect(later(NULL, NULL, 0, true), "crl.pem holds no list of its issuer (/CN=Middle CA)");
	/* The one in the middle may be held itself. */
	snprintf(middle, sizeof(middle), "%s/chained/i.crt", pki->dir);
	expect(later(middle, NULL, 0, false), NULL);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(nothing_has_changed),
		T(a_list_that_names_others),
		T(it_is_revoked),
		T(its_authority_is_gone),
		T(an_authority_of_the_same_name_is_not_its_own),
		T(another_authority_came_beside_its_own),
		T(a_chain_is_followed_to_its_end),
	};

	(void)pki_get();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
