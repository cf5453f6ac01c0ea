/* SPDX-License-Identifier: GPL-3.0-or-later */
/* PEM files of an identity: the input is a file's text. Whatever is in it, taking it apart and reading each block as a certificate and as a
 * revocation list must stay inside of it; what was read is printable and bounded; what was taken apart comes back the same. */
#include "target.h"

#include "tls/cert.h"
#include "tls/crl.h"
#include "tls/pem.h"

#include <stdlib.h>
#include <string.h>

static void must_be_text(const char *text, size_t cap_bytes)
{
	size_t n = strnlen(text, cap_bytes);

	must(n < cap_bytes);
	for (size_t i = 0; i < n; i++)
		must(text[i] >= ' ' && text[i] <= '~');
}

static void try_block(const struct pem_block *b)
{
	char fault[CERT_FAULT_BYTES] = "", name[CERT_NAME_TEXT_BYTES];
	struct cert cert = { 0 };
	struct crl crl;

	must_be_text(b->label, sizeof(b->label));
	if (cert_read(b->der, b->len_bytes, &cert, fault) == 0) {
		must(cert.peer.names_count <= TLS_NAMES_MAX);
		for (size_t i = 0; i < cert.peer.names_count; i++) {
			must(strnlen(cert.peer.names[i].text, TLS_NAME_BYTES) < TLS_NAME_BYTES);
			must_be_text(cert_name_text(&cert.peer.names[i], name), sizeof(name));
		}
		must_be_text(cert.subject, sizeof(cert.subject));
		must_be_text(cert.issuer, sizeof(cert.issuer));
		(void)cert_is_issued_by(&cert, &cert);
	} else {
		must_be_text(fault, sizeof(fault));
		must(fault[0]);
	}
	if (crl_read(b->der, b->len_bytes, &crl) == 0) {
		must(crl.issuer >= b->der && crl.issuer + crl.issuer_len_bytes <= b->der + b->len_bytes);
		(void)crl_is_of(&crl, b->der, b->len_bytes);
	}
}

static void try_again(const struct pem *pem)
{
	struct pem_text text = { 0 };
	struct pem again;
	unsigned line;

	for (size_t i = 0; i < pem->count; i++)
		must(pem_append(&text, "BLOCK", pem->blocks[i].der, pem->blocks[i].len_bytes) == 0);
	must(pem_parse(text.text, text.len_bytes, &again, &line) == PEM_OK);
	must(again.count == pem->count);
	for (size_t i = 0; i < pem->count; i++) {
		must(again.blocks[i].len_bytes == pem->blocks[i].len_bytes);
		must(memcmp(again.blocks[i].der, pem->blocks[i].der, pem->blocks[i].len_bytes) == 0);
	}
	pem_done(&again);
	pem_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len_bytes)
{
	struct pem pem;
	unsigned line;
	enum pem_fault fault = pem_parse((const char *)bytes, len_bytes, &pem, &line);

	if (fault) {
		must(pem_fault_text(fault) != NULL);
		return 0;
	}
	must(pem.count >= 1 && pem.count <= PEM_BLOCKS_MAX);
	for (size_t i = 0; i < pem.count; i++)
		try_block(&pem.blocks[i]);
	try_again(&pem);
	pem_done(&pem);
	return 0;
}
