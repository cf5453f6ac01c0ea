/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A kubeconfig: it is taken whole, or refused with one line that names it. */
#include "target.h"

#include "kube/kubeconfig.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len_bytes)
{
	char error[KUBECONFIG_ERROR_BYTES] = "";
	struct kubeconfig k = { 0 };

	if (kubeconfig_parse("/nowhere/config", (const char *)bytes, len_bytes, &k, error) < 0) {
		must(error[0] != '\0' && memchr(error, '\0', sizeof(error)) && !strchr(error, '\n'));
		must(!k.server && !k.token.bytes);
		return 0;
	}
	must(k.server && k.server[0] != '\0');
	must(!k.certificate.bytes == !k.key.bytes);
	must(!k.token.bytes || (k.token.len_bytes > 0 && !strpbrk(k.token.bytes, " \r\n\t")));
	kubeconfig_done(&k);
	return 0;
}
