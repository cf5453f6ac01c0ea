/* user_settings.h - what wolfSSL is built with: TLS 1.3 with mutual certificates, nothing else. The assembler reads this file too, so it holds only
 * lines of the preprocessor. Left out on purpose: session tickets and pre-shared keys (a resumed handshake skips the verify callback and the CRL),
 * TLS 1.2, DTLS, OCSP, the OpenSSL layer (it costs 90 KB a session), KEEP_PEER_CERT and SESSION_CERTS. */
#ifndef CULVERT_WOLFSSL_USER_SETTINGS_H
#define CULVERT_WOLFSSL_USER_SETTINGS_H

/* platform */
#ifdef __x86_64__
#define WOLFSSL_X86_64_BUILD
#define USE_INTEL_SPEEDUP
#define WOLFSSL_AESNI
#define WOLFSSL_SP_X86_64
#define WOLFSSL_SP_X86_64_ASM
#define WOLFSSL_SP_ASM
#endif
#define HAVE_THREAD_LS
#define HAVE_PTHREAD    1
#define HAVE_SYS_TIME_H 1
#define HAVE_UNISTD_H   1
#define HAVE_LIMITS_H   1
#define HAVE_GETPID     1
/* else the dates of certificates go through gmtime()'s one buffer: a race */
#define HAVE_GMTIME_R 1
#define WOLFSSL_HAVE_ASSERT_H
#define HAVE___UINT128_T 1
#define WOLFSSL_HAVE_ATOMIC_H
#define HAVE_C___ATOMIC 1
#define WOLFSSL_USE_ALIGN
#define ERROR_QUEUE_PER_THREAD

/* protocol */
#define WOLFSSL_TLS13
#define WOLFSSL_NO_TLS12
#define NO_OLD_TLS
#define HAVE_TLS_EXTENSIONS
#define HAVE_SUPPORTED_CURVES
#define HAVE_SNI
#define HAVE_ALPN
#define HAVE_EXTENDED_MASTER
#define WOLFSSL_AEAD_ONLY
#define NO_PSK
#define NO_SESSION_CACHE

/* keys and records for a record protection of our own; the verify callback also where all is well, not only on failure */
#define HAVE_SECRET_CALLBACK
#define ATOMIC_USER
#define HAVE_PK_CALLBACKS
#define WOLFSSL_ALWAYS_VERIFY_CB

/* certificates: reading them, and making them for culvertctl ca */
#define WOLFSSL_ASN_TEMPLATE
#define WOLFSSL_PUBLIC_ASN
#define WOLFSSL_IP_ALT_NAME
#define HAVE_CRL
#define HAVE_CRL_IO_OFF
#define NO_WOLFSSL_CM_VERIFY
#define WOLFSSL_BASE64_ENCODE
#define WOLFSSL_CERT_GEN
#define WOLFSSL_CERT_EXT
#define WOLFSSL_CERT_REQ
#define WOLFSSL_ALT_NAMES
#define WOLFSSL_KEY_GEN
#define WOLFSSL_PEM_TO_DER
#define WOLFSSL_DER_TO_PEM

/* algorithms */
#define HAVE_AESGCM
#define GCM_TABLE_4BIT
#define WOLFSSL_AES_DIRECT
#define HAVE_CHACHA
#define HAVE_POLY1305
#define HAVE_HKDF
#define HAVE_ECC
#define ECC_SHAMIR
#define ECC_TIMING_RESISTANT
#define TFM_TIMING_RESISTANT
#define WC_RSA_BLINDING
#define WC_RSA_PSS
#define WOLFSSL_PSS_LONG_SALT
#define ECC_USER_CURVES
#define HAVE_ECC384
#define HAVE_CURVE25519
#define HAVE_ED25519
#define WOLFSSL_SHA384
#define WOLFSSL_SHA512
#define WOLFSSL_SHA3
#define WOLFSSL_SHAKE128
#define WOLFSSL_SHAKE256
#define WOLFSSL_HAVE_MLKEM
#define WOLFSSL_NO_ML_KEM_512
#define WOLFSSL_NO_ML_KEM_1024
#define WOLFSSL_PQC_HYBRIDS
#define WOLFSSL_TLS_NO_MLKEM_STANDALONE
#define HAVE_HASHDRBG
#define NO_DH
#define NO_DSA
#define NO_RC4
#define NO_MD4
#define NO_MD5
#define NO_DES3
#define NO_PWDBASED
#define NO_PKCS12

/* big numbers: SP, with assembly for P-256, P-384 and RSA */
#define WOLFSSL_SP_MATH_ALL
#define WOLFSSL_HAVE_SP_ECC
#define WOLFSSL_HAVE_SP_RSA
#define WOLFSSL_SP_384
#define WOLFSSL_SP_4096
#define SP_INT_BITS    4096
#define RSA_MIN_SIZE   2048
#define ECC_MIN_KEY_SZ 256

#endif
