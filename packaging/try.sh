#!/bin/bash
# Shows the round trip on this machine: builds, starts the reference server and the agent in a temporary directory on
# loopback, enrolls with a password, takes the password away, renews by the certificate's own key. Ends with status 0
# only when the key stayed in the token and was replaced, and the certificate got a new serial number.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n== %s\n' "$*"; }
fail() {
    echo "packaging/try.sh: $*" >&2
    exit 1
}

say "1. Installing what is missing, building"
packaging/install-dependencies build try
programs=(autoenrolld autoenroll-worker autoenroll autoenroll-server-ref)
if ! { cmake --preset release && cmake --build --preset release -j "$(nproc)" --target "${programs[@]}"; } >try.log 2>&1; then
    tail -n 40 try.log >&2
    fail "it does not build; $PWD/try.log says more"
fi
rm -f try.log
bin=$PWD/build/bin
# This machine's own trust, proxies and credentials have no part in it.
unset SSL_CERT_FILE SSL_CERT_DIR CURL_CA_BUNDLE OPENSSL_CONF SOFTHSM2_CONF CREDENTIALS_DIRECTORY
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY

dir=$(mktemp -d "${TMPDIR:-/tmp}/autoenroll-try.XXXXXX")
server=
clean_up() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# As root the agent runs as it should: the daemon as one user, what touches network and token as another. Both must be
# able to reach the programs and the directory.
agent_options=()
if [ "$(id -u)" = 0 ]; then
    mkdir -m 755 "$dir/bin"
    install -m 755 "$bin/autoenrolld" "$bin/autoenroll-worker" "$bin/autoenroll" "$bin/autoenroll-server-ref" "$dir/bin"
    bin=$dir/bin
    agent_options=(--run-as nobody --worker-as daemon)
    chmod 711 "$dir"
fi

say "2. A CA with its policy and enrollment servers (CEP, CES), on loopback"
"$bin/autoenroll-server-ref" init "$dir/server" --user demo
"$bin/autoenroll-server-ref" serve "$dir/server" --port 0 >"$dir/server.log" 2>&1 &
server=$!
for _ in $(seq 200); do
    grep -q '^READY' "$dir/server.log" && break
    kill -0 "$server" 2>/dev/null || fail "the server ended: $(cat "$dir/server.log")"
    sleep 0.05
done
url=$(sed -n 's/^READY //p' "$dir/server.log")
[ -n "$url" ] || fail "the server did not become ready: $(cat "$dir/server.log")"
policy_id=$(sed -n 's/^ID = //p' "$dir/server/server.conf")
echo "serving $url, policy $policy_id"

install -m 644 "$dir/server/root.pem" "$dir/root.pem"
mkdir -m 700 "$dir/credentials"
mv "$dir/server/password" "$dir/credentials/demo.password"
[ "$(id -u)" != 0 ] || chown -R daemon "$dir/credentials"
cat >"$dir/autoenroll.conf" <<END
[policy-server "demo"]
uri           = $url/ADPolicyProvider_CEP_UsernamePassword/service.svc/CEP
auth          = username
username      = demo
ca-file       = $dir/root.pem
policy-id     = $policy_id
ces-hosts     = ${url#https://}
autoenroll    = yes

[policy-server "demo-renewal"]
uri           = $url/KeyBasedRenewal_ADPolicyProvider_CEP_Certificate/service.svc/CEP
auth          = certificate
ca-file       = $dir/root.pem
policy-id     = $policy_id
ces-hosts     = ${url#https://}
cost          = 1

[certificate "device"]
policy-server = demo
template      = DeviceEC
subject       = CN=device.example
dns           = device.example
END
echo "the agent's configuration, $dir/autoenroll.conf:"
sed 's/^/    /' "$dir/autoenroll.conf"

agent() {
    CREDENTIALS_DIRECTORY=$dir/credentials "$bin/autoenrolld" --oneshot --config "$dir/autoenroll.conf" \
        --state-dir "$dir/state" "${agent_options[@]}" "$@"
}
certificate=$dir/state/public/certs/device/current/cert.pem

# What the token says of the current key. Its PIN is random and stands in a file that only the worker reads.
show_token() {
    local pin
    pin=$(find "$dir/state/token" -name pin -type f -exec cat {} +)
    SOFTHSM2_CONF=$dir/state/token/softhsm2.conf PIN=$pin pkcs11-tool --module "$softhsm" --login --pin env:PIN "$@" 2>&1
}
softhsm=$(find /usr/lib /usr/lib64 -name libsofthsm2.so 2>/dev/null | head -n 1)

say "3. Enrolling: the agent shows a password, and takes what the policy grants and what its configuration names"
agent || fail "enrolling failed"
[ -s "$certificate" ] || fail "there is no certificate"
printf '\nthe policy, as the agent remembers it:\n'
grep -o '"name":"[^"]*","oid":"[^"]*","schema":[0-9]*' "$dir/state/private/policies/demo.json" |
    sed 's/"name":"\([^"]*\)","oid":"\([^"]*\)","schema":\([0-9]*\)/    \1 (schema \3, \2)/'
serial=$(openssl x509 -in "$certificate" -noout -serial)
key=$(openssl x509 -in "$certificate" -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum)

say "4. The certificate"
"$bin/autoenroll" decode "$certificate"

say "5. The key is in the token, and stays there"
cat "$(dirname "$certificate")/key.uri"
show_token --list-objects --type privkey | tee "$dir/objects"
keys=$(grep -c 'Private Key Object' "$dir/objects")
guarded=$(grep -c 'sensitive, always sensitive, never extractable, local' "$dir/objects" || true)
if [ "$keys" = 0 ] || [ "$keys" != "$guarded" ]; then
    fail "not every key was made in the token and must stay there"
fi

say "6. The password goes: no file, and the account has another one"
rm "$dir/credentials/demo.password"
head -c 24 /dev/urandom | base64 | "$bin/autoenroll-server-ref" user add "$dir/server" demo --password-file -
[ -z "$(ls -A "$dir/credentials")" ] || fail "there is still something in $dir/credentials"
echo "nothing is left in $dir/credentials"

say "7. Renewing: the agent shows the old certificate, signs with the old key and the new one"
agent --renew device || fail "renewing failed"
new_serial=$(openssl x509 -in "$certificate" -noout -serial)
new_key=$(openssl x509 -in "$certificate" -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum)
[ "$serial" != "$new_serial" ] || fail "the certificate has the same serial number as before"
[ "$key" != "$new_key" ] || fail "the certificate has the same key as before"
openssl verify -CAfile "$dir/root.pem" -untrusted "$(dirname "$certificate")/chain.pem" "$certificate" ||
    fail "openssl does not trust the new certificate"

say "Done"
echo "before: $serial, key ${key:0:16}"
echo "now:    $new_serial, key ${new_key:0:16}"
echo "what the server saw:"
sed -n 's/^/    /; /READY/!p' "$dir/server.log"
