#!/bin/bash
# Takes a CMC request apart with nothing but the openssl command, and verifies its signatures.
#
#   take_apart_cmc.sh MESSAGE.der [DIRECTORY]
#
# The signer that is named by a key identifier has no certificate in the message: it is the key of the PKCS#10
# inside. Give openssl one with that key and that identifier, made on the spot ("openssl x509 -new -force_pubkey").
# Prints what it found, one "name: value" a line, ends with "verified: yes", exit status 0; else not 0.
set -euo pipefail
message=$1
dir=${2:-$(mktemp -d)}
[ $# -ge 2 ] || trap 'rm -rf "$dir"' EXIT
parse() { openssl asn1parse -inform DER "$@"; }

openssl cms -cmsout -print -inform DER -in "$message" >"$dir/print.txt"
echo "content type: $(sed -n 's/^ *eContentType:.*(\([0-9.]*\)).*/\1/p' "$dir/print.txt")"
echo "signers: $(grep -c -E '^ +d\.(issuerAndSerialNumber|subjectKeyIdentifier):' "$dir/print.txt")"
echo "certificates: $(grep -c '^ *d.certificate:' "$dir/print.txt" || true)"

# The content is the OCTET STRING behind its type; in it the PKCS#10 is the SEQUENCE behind [0] and an INTEGER.
offset=$(parse -in "$message" | awk -F'[: ]+' '/OBJECT *:(id-cct-PKIData|1.3.6.1.5.5.7.12.2)/ && !type {type = 1; next}
    type && !found && /OCTET STRING/ {found = 1; print $1 + 0 ? $1 : $2}')
parse -in "$message" -strparse "$offset" -out "$dir/content.der" -noout
offset=$(parse -in "$dir/content.der" | awk -F'[: ]+' '/d=2 .*cont \[ 0 \]/ {tcr = 1; next}
    tcr && !found && /d=3 .*SEQUENCE/ {found = 1; print $1 + 0 ? $1 : $2}')
parse -in "$dir/content.der" -strparse "$offset" -out "$dir/csr.der" -noout
openssl req -inform DER -in "$dir/csr.der" -noout -verify >/dev/null 2>&1 && echo "inner signature: good"
openssl req -inform DER -in "$dir/csr.der" -noout -pubkey >"$dir/new.pub"
openssl req -inform DER -in "$dir/csr.der" -noout -subject -nameopt RFC2253

openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$dir/any.key" 2>/dev/null
printf 'subjectKeyIdentifier = hash\n' >"$dir/extensions"
openssl x509 -new -force_pubkey "$dir/new.pub" -subj "/CN=the new key" -key "$dir/any.key" -extfile "$dir/extensions" \
    -out "$dir/new.pem" 2>/dev/null
openssl cms -verify -noverify -binary -inform DER -in "$message" -certfile "$dir/new.pem" -out "$dir/verified.der" \
    2>"$dir/log" || { cat "$dir/log" >&2; exit 1; }
cmp "$dir/verified.der" "$dir/content.der"
echo "verified: yes"
