/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "kube/easy.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	CONNECT_TIMEOUT_MS = 10000,
	RECEIVE_BYTES = 64 << 10,
	RETRY_AFTER_MAX_S = 3600,
};

static void set_blob(CURL *easy, CURLoption option, const struct secret *s)
{
	struct curl_blob blob = { .data = s->bytes, .len = s->len_bytes, .flags = CURL_BLOB_COPY };

	(void)curl_easy_setopt(easy, option, &blob);
}

static bool add_header(struct easy *e, const char *name, const char *value)
{
	struct curl_slist *longer;
	char *line;

	if (asprintf(&line, "%s: %s", name, value) < 0)
		return false;
	longer = curl_slist_append(e->headers, line);
	explicit_bzero(line, strlen(line));
	free(line);
	if (longer)
		e->headers = longer;
	return longer != NULL;
}

/* The URL, and where to connect where the certificate has another name than the server's address. */
static int set_address(struct easy *e, const char *path, const struct kubeconfig *k)
{
	const char *host = strstr(k->server, "://") + 3, *rest = host + strcspn(host, "/"), *bracket, *port;
	char *url = NULL, *to = NULL;
	int rc = -ENOMEM;

	if (!k->tls_name) {
		if (asprintf(&url, "%s%s", k->server, path) < 0)
			return -ENOMEM;
	} else {
		bracket = memchr(host, ']', (size_t)(rest - host));
		port = memchr(bracket ? bracket : host, ':', (size_t)(rest - (bracket ? bracket : host)));
		if (!port)
			port = rest;
		if (asprintf(&url, "https://%s%.*s%s%s", k->tls_name, (int)(rest - port), port, rest, path) < 0)
			return -ENOMEM;
		if (asprintf(&to, "::%.*s%s", (int)(rest - host), host, port == rest ? ":443" : "") < 0) {
			free(url);
			return -ENOMEM;
		}
		e->connect_to = curl_slist_append(NULL, to);
	}
	if ((!to || e->connect_to) && curl_easy_setopt(e->handle, CURLOPT_URL, url) == CURLE_OK)
		rc = 0;
	if (rc == 0 && to)
		(void)curl_easy_setopt(e->handle, CURLOPT_CONNECT_TO, e->connect_to);
	free(url);
	free(to);
	return rc;
}

static void set_credentials(struct easy *e, const struct kubeconfig *k)
{
	if (k->authority.bytes) {
		set_blob(e->handle, CURLOPT_CAINFO_BLOB, &k->authority);
		/* Else the system's authorities would be good too. */
		(void)curl_easy_setopt(e->handle, CURLOPT_CAPATH, NULL);
	}
	if (k->certificate.bytes) {
		(void)curl_easy_setopt(e->handle, CURLOPT_SSLCERTTYPE, "PEM");
		(void)curl_easy_setopt(e->handle, CURLOPT_SSLKEYTYPE, "PEM");
		set_blob(e->handle, CURLOPT_SSLCERT_BLOB, &k->certificate);
		set_blob(e->handle, CURLOPT_SSLKEY_BLOB, &k->key);
	}
}

static int set_headers(struct easy *e, const struct easy_request *r, const struct kubeconfig *k)
{
	char *bearer;
	bool is_set;

	if (!add_header(e, "Accept", r->accept))
		return -ENOMEM;
	if (r->content_type && !add_header(e, "Content-Type", r->content_type))
		return -ENOMEM;
	/* No asking for leave before a body is sent. */
	if (r->body && !add_header(e, "Expect", ""))
		return -ENOMEM;
	if (!k->token.bytes)
		return 0;
	if (asprintf(&bearer, "Bearer %s", k->token.bytes) < 0)
		return -ENOMEM;
	is_set = add_header(e, "Authorization", bearer);
	explicit_bzero(bearer, strlen(bearer));
	free(bearer);
	return is_set ? 0 : -ENOMEM;
}

static void wipe_headers(struct easy *e)
{
	for (struct curl_slist *h = e->headers; h; h = h->next)
		explicit_bzero(h->data, strlen(h->data));
	curl_slist_free_all(e->headers);
	curl_slist_free_all(e->connect_to);
	e->headers = e->connect_to = NULL;
}

int easy_init(struct easy *e, const struct easy_request *r, const struct kubeconfig *k)
{
	CURL *h = curl_easy_init();
	int rc;

	if (!h)
		return -ENOMEM;
	*e = (struct easy){ .handle = h };
	rc = set_address(e, r->path, k);
	if (rc == 0)
		rc = set_headers(e, r, k);
	if (rc < 0) {
		easy_done(e);
		return rc;
	}
	set_credentials(e, k);
	(void)curl_easy_setopt(h, CURLOPT_ERRORBUFFER, e->error);
	(void)curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(h, CURLOPT_NOPROGRESS, 1L);
	(void)curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "https,http");
	/* The API server is reached directly, whatever the environment says for others. */
	(void)curl_easy_setopt(h, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(h, CURLOPT_USERAGENT, r->user_agent);
	(void)curl_easy_setopt(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	/* Rather wait for a connection that is being made than make another one. */
	(void)curl_easy_setopt(h, CURLOPT_PIPEWAIT, 1L);
	(void)curl_easy_setopt(h, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	(void)curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
	(void)curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)r->timeout_ms);
	(void)curl_easy_setopt(h, CURLOPT_BUFFERSIZE, (long)RECEIVE_BYTES);
	/* A name that is still being looked up must not hold who gives up waiting for it. */
	(void)curl_easy_setopt(h, CURLOPT_QUICK_EXIT, 1L);
	if (r->body) {
		(void)curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_bytes);
		(void)curl_easy_setopt(h, CURLOPT_POSTFIELDS, r->body);
	}
	(void)curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, r->method);
	(void)curl_easy_setopt(h, CURLOPT_HTTPHEADER, e->headers);
	return 0;
}

void easy_done(struct easy *e)
{
	curl_easy_cleanup(e->handle);
	e->handle = NULL;
	wipe_headers(e);
}

unsigned easy_status(const struct easy *e)
{
	long status = 0;

	(void)curl_easy_getinfo(e->handle, CURLINFO_RESPONSE_CODE, &status);
	return status > 0 ? (unsigned)status : 0;
}

uint32_t easy_retry_after_ms(const struct easy *e)
{
	curl_off_t seconds = 0;

	if (curl_easy_getinfo(e->handle, CURLINFO_RETRY_AFTER, &seconds) != CURLE_OK || seconds <= 0)
		return 0;
	return (uint32_t)(seconds < RETRY_AFTER_MAX_S ? seconds : RETRY_AFTER_MAX_S) * 1000;
}

/* The server's certificate was not good: by libcurl's word, or by OpenSSL's where that tripped over it in another way. */
static bool is_not_verified(const struct easy *e, CURLcode result)
{
	long verdict = 0;

	if (result == CURLE_PEER_FAILED_VERIFICATION)
		return true;
	return result == CURLE_SSL_CONNECT_ERROR && curl_easy_getinfo(e->handle, CURLINFO_SSL_VERIFYRESULT, &verdict) == CURLE_OK &&
	       verdict != 0;
}

int easy_error(const struct easy *e, CURLcode result)
{
	long os = 0;

	if (is_not_verified(e, result))
		return -EKEYREJECTED;
	switch (result) {
	case CURLE_OK:
		return 0;
	case CURLE_COULDNT_RESOLVE_HOST:
		return -EHOSTUNREACH;
	case CURLE_COULDNT_CONNECT:
		(void)curl_easy_getinfo(e->handle, CURLINFO_OS_ERRNO, &os);
		return os > 0 && os < 4096 ? -(int)os : -ECONNREFUSED;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
		return -EKEYREJECTED;
	case CURLE_OUT_OF_MEMORY:
	case CURLE_WRITE_ERROR: /* a callback refused: who did it for another reason knows */
		return -ENOMEM;
	case CURLE_PARTIAL_FILE:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
	case CURLE_SSL_CONNECT_ERROR:
		return -ECONNRESET;
	default:
		return -EIO;
	}
}

void easy_say(const struct easy *e, CURLcode result, const char *server, char *text, size_t text_bytes)
{
	const char *why = e->error[0] ? e->error : curl_easy_strerror(result);

	if (is_not_verified(e, result))
		(void)snprintf(text, text_bytes, "%s: its certificate is not good for us; is the certificate authority the right one? (%s)",
		               server, why);
	else if (easy_error(e, result) == -ECONNRESET)
		(void)snprintf(text, text_bytes, "%s: the connection broke off (%s)", server, why);
	else
		(void)snprintf(text, text_bytes, "%s: %s", server, why);
}
