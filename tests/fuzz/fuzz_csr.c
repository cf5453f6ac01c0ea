/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Certificate requests: the input is a request's DER. Whatever is in it, reading must stay inside of it; a request that is taken has a
 * visible name of the right size and a point, one that is not has a sentence. */
#include "target.h"

#include "tls/csr.h"

#include <string.h>

static void must_be_text(const char *text, size_t cap_bytes)
{
	size_t n = strnlen(text, cap_bytes);

	must(n > 0 && n < cap_bytes);
	for (size_t i = 0; i < n; i++)
		must(text[i] >= ' ' && text[i] <= '~');
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len_bytes)
{
	char fault[CSR_FAULT_BYTES] = "";
	struct csr csr;

	if (csr_read(bytes, len_bytes, &csr, fault) == 0) {
		must(csr.name.type == TLS_NAME_URI || csr.name.type == TLS_NAME_DNS);
		must_be_text(csr.name.text, sizeof(csr.name.text));
		must(csr.point[0] == 0x04);
	} else {
		must_be_text(fault, sizeof(fault));
	}
	return 0;
}
