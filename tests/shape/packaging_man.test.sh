#!/bin/bash
# The manual pages: without a warning, and they say what the programs take, no more and no less.
set -uo pipefail
. "$AE_SOURCE/tests/shape/stage.sh"
pages=$AE_SOURCE/packaging/man

for page in "$at"/share/man/man?/*; do
    env LC_ALL=C.UTF-8 MANROFFSEQ= MANWIDTH=100 man --warnings -l "$page" >"$work/read" 2>"$work/warnings" ||
        complain "$page cannot be shown"
    [ ! -s "$work/warnings" ] || complain "$page: $(cat "$work/warnings")"
done

# same PAGE: what the program has, on standard input, is what stands in $work/page.
same() {
    local difference
    difference=$(diff <(sort) <(sort "$work/page")) ||
        complain "$1, the program '<', the page '>':"$'\n'"$difference"
}

# terms FILE: "SECTION TERM|TEXT" for each indented paragraph and the first word of the line before it; SECTION is what
# is in brackets in the heading, or else the heading.
terms() {
    awk '
        function flush() { if (term != "") print section " " term "|" text; term = text = "" }
        /^# /    { flush(); section = match($0, /\[[a-z-]+\]/) ? substr($0, RSTART + 1, RLENGTH - 2) : substr($0, 3) }
        /^\t/    { sub(/^\t/, ""); text = text (text == "" ? "" : " ") $0; next }
        /^[*]/   { flush(); term = $1; gsub(/[*]/, "", term); sub(/=_/, "=", term); sub(/_$/, "", term); next }
        { flush() }
        END { flush() }' "$1"
}

# --- autoenroll.conf(5): sections, keys, defaults ---

terms "$pages/autoenroll.conf.5.scd" | grep '^[a-z]' >"$work/terms"
cut -d'|' -f1 "$work/terms" >"$work/page"
sed -nE 's/^    (AGENT|SERVER|CERTIFICATE|\{)\(?"([a-z0-9-]+)", .*, ("[^"]*"|NULL)[)}],$/\1 \2|\3/p' \
    "$AE_SOURCE/agent/config/settings.c" |
    sed 's/^AGENT/agent/; s/^SERVER/policy-server/; s/^CERTIFICATE/certificate/; s/^{/watch/; s/"//g' >"$work/keys"
cut -d'|' -f1 "$work/keys" | same "autoenroll.conf(5)"
[ "$(wc -l <"$work/keys")" -gt 30 ] || complain "the keys in settings.c are not found any more"
while IFS='|' read -r key fallback; do
    [ "$fallback" = NULL ] || grep -qF "Default: $fallback." <(grep "^$key|" "$work/terms") ||
        complain "autoenroll.conf(5): $key has the default $fallback"
done <"$work/keys"

# --- autoenrolld(8): options ---

terms "$pages/autoenrolld.8.scd" | sed -n 's/^OPTIONS \(.*\)|.*/\1/p' >"$work/page"
"$at/sbin/autoenrolld" --help | sed -nE 's/^  (--[^ ]+).*/\1/p' | same "autoenrolld(8)"

terms "$pages/autoenrolld.8.scd" | sed -n 's/^METRICS \(.*\)|.*/\1/p' >"$work/page"
grep -oE '\b(GAUGE|COUNTER)\("[a-z_]+"' "$AE_SOURCE/agent/daemon/metrics.c" | sed 's/.*"\(.*\)"/autoenroll_\1/' |
    same "autoenrolld(8), metrics"

terms "$pages/autoenrolld.8.scd" | sed -n 's/^LOG \(.*\)|.*/\1/p' >"$work/page"
grep -oE '"[0-9a-f]{32}"' "$AE_SOURCE/agent/daemon/log.h" | tr -d '"' | same "autoenrolld(8), message ids"

# --- autoenroll-deploy(8): options ---

sed -n '/^# OPTIONS/,/^# WHAT/s/^\*/&/p' "$pages/autoenroll-deploy.8.scd" | grep -oE -- '--[a-z-]+' >"$work/page"
"$at/libexec/autoenroll/autoenroll-deploy" --help | sed -nE 's/^  (--[a-z-]+).*/\1/p' | same "autoenroll-deploy(8)"

# --- autoenroll-server-ref(8): verbs, options, server.conf ---

server() { "$at/bin/autoenroll-server-ref" "$@"; }
terms "$pages/autoenroll-server-ref.8.scd" >"$work/terms"
verbs=$(server --help | sed -nE 's/^  ([a-z]+).*/\1/p')
sed -n 's/^VERBS \(.*\)|.*/\1/p' "$work/terms" >"$work/page"
same "autoenroll-server-ref(8)" <<<"$verbs"

sed -n 's/^OPTIONS \(.*\)|.*/\1/p' "$work/terms" >"$work/page"
server --help | sed -nE 's/^  ([a-z]+( [a-z]+)?) .*/\1/p' | while read -r verb; do
    server $verb --help | sed -nE 's/^  (--[a-z-]+).*/\1/p'
done | sort -u | same "autoenroll-server-ref(8)"

grep '^[a-z]' "$work/terms" | cut -d'|' -f1 >"$work/page"
{
    awk 'match($0, /^static const struct field [a-z]+_fields/) { section = substr($5, 1, index($5, "_") - 1) }
        section && match($0, /^    (AT\(|\{)"[A-Za-z0-9]+"/) { split($0, part, "\""); print section, part[2] }
        /^};/ { section = "" }' "$AE_SOURCE/server-ref/config.c" | sed 's/^limit /limits /'
    sed -nE 's/^    (ROW|WORDS)\("([a-z-]+)".*/misbehave \2/p' "$AE_SOURCE/server-ref/misbehave.c"
} | same "server.conf"
verdict
