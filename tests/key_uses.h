/* key_uses.h - does with a private key what OpenSSL's users do, and checks it in software and with the openssl command.
 */
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

/* A self-signed certificate for "CN=key under test", good from yesterday until tomorrow. Returns owned. */
X509 *key_uses_certificate(EVP_PKEY *key);

/* PKCS#10 with SHA-256, -384 and -512, and for RSA with PSS. */
void key_uses_requests(EVP_PKEY *key, const char *dir);
/* CMS SignedData, and for RSA a second one with PSS. */
void key_uses_cms(EVP_PKEY *key, const char *dir);
/* Client authentication to a server that demands it. @version: TLS1_2_VERSION or TLS1_3_VERSION. */
void key_uses_tls(EVP_PKEY *key, int version);
/* EVP_DigestSign and EVP_PKEY_sign, verified by the same object, by its public half, and refused when damaged. */
void key_uses_signatures(EVP_PKEY *key);
