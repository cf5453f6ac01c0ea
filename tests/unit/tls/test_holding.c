/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a node holds: kept, found again, and never replaced by what is not good. */
#include "tls/csr.h"
#include "tls/holding.h"
#include "tls/signer.h"
#include "unit/pki.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

static char dir[160];
static unsigned number;
static struct pem_text authority, authority_key;
static struct signer *signer;
static const struct tls_name own = { .type = TLS_NAME_URI, .text = "spiffe://x/node/n1" }, other = { .type = TLS_NAME_DNS, .text = "n2" };

static int setup_all(void **state)
{
	char error[CA_ERROR_BYTES];
	int64_t now_s = time(NULL);

	(void)state;
	(void)pki_get();
	return signer_make("test", now_s - 600, now_s + 86400, &authority, &authority_key) ||
	       signer_open(authority.text, authority_key.text, &signer, error);
}

static int teardown_all(void **state)
{
	(void)state;
	signer_close(signer);
	pem_free(&authority);
	pem_free(&authority_key);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "%s/holding%u", pki_get()->dir, number++);
	return 0;
}

static struct holding make(const struct tls_name *name, int64_t end_s)
{
	struct pem_text key = { 0 }, request = { 0 }, chain = { 0 };
	char error[CA_ERROR_BYTES] = "";
	struct csr csr;

	assert_int_equal(csr_make(name, &key, &request), 0);
	assert_int_equal(csr_read_pem(request.text, request.len_bytes, &csr, error), 0);
	if (signer_sign(signer, &csr, "n", time(NULL) - 300, end_s, &chain, error))
		fail_msg("%s", error);
	pem_free(&request);
	return (struct holding){ .cert = chain.text, .key = key.text, .ca = strdup(authority.text) };
}

static void test_kept_and_found(void **state)
{
	int64_t end_s = time(NULL) + 3600;
	struct holding h = make(&own, end_s), again;
	char error[CRED_ERROR_BYTES] = "", path[256];
	struct stat st;

	(void)state;
	assert_int_equal(holding_load(dir, &own, &again, error), -ENOENT);
	if (holding_store(dir, &own, &h, error))
		fail_msg("%s", error);
	assert_int_equal(h.not_after_s, end_s);
	snprintf(path, sizeof(path), "%s/tls.key", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	if (holding_load(dir, &own, &again, error))
		fail_msg("%s", error);
	assert_string_equal(again.cert, h.cert);
	assert_string_equal(again.key, h.key);
	assert_string_equal(again.ca, h.ca);
	assert_int_equal(again.not_before_s, h.not_before_s);
	assert_int_equal(again.not_after_s, h.not_after_s);
	holding_done(&again);
	assert_int_equal(holding_load(dir, &other, &again, error), -EINVAL);
	assert_non_null(strstr(error, "this node's must be for DNS:n2"));
	holding_done(&h);
	assert_null(h.key);
}

static void test_what_is_not_good_changes_nothing(void **state)
{
	struct holding h = make(&own, time(NULL) + 3600), bad, again;
	struct pem_text ca = { 0 }, ca_key = { 0 };
	char error[CRED_ERROR_BYTES] = "";
	char *swap;

	(void)state;
	assert_int_equal(holding_store(dir, &own, &h, error), 0);
	bad = make(&other, time(NULL) + 3600); /* another's name */
	assert_int_equal(holding_store(dir, &own, &bad, error), -EINVAL);
	holding_done(&bad);
	bad = make(&own, time(NULL) - 60); /* has ended */
	assert_int_equal(holding_store(dir, &own, &bad, error), -EINVAL);
	assert_non_null(strstr(error, "expired"));
	holding_done(&bad);
	bad = make(&own, time(NULL) + 3600);
	swap = bad.key; /* another's key */
	bad.key = h.key;
	assert_int_equal(holding_store(dir, &own, &bad, error), -EINVAL);
	assert_non_null(strstr(error, "does not belong"));
	bad.key = swap;
	assert_int_equal(signer_make("somebody else", time(NULL) - 60, time(NULL) + 3600, &ca, &ca_key), 0);
	free(bad.ca);
	bad.ca = ca.text;
	assert_int_equal(holding_store(dir, &own, &bad, error), -EINVAL);
	assert_non_null(strstr(error, "no valid authority of ca.crt"));
	holding_done(&bad);
	pem_free(&ca_key);
	assert_int_equal(holding_load(dir, &own, &again, error), 0);
	assert_string_equal(again.key, h.key);
	holding_done(&again);
	holding_done(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_kept_and_found, setup),
		cmocka_unit_test_setup(test_what_is_not_good_changes_nothing, setup),
	};

	return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
