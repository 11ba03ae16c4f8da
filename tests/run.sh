#!/bin/bash
# Installs what is missing, builds, runs the tests and sums up. Without arguments: all of them, built by gcc and again by
# clang, both with ASan and UBSan, and the release build. Arguments go to ctest: tests/run.sh -L flow
# --no-skip, or CI=true in the environment: a test that is skipped counts as a failure.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 70

no_skip=${CI:-false}
arguments=()
for argument in "$@"; do
    if [ "$argument" = --no-skip ]; then no_skip=true; else arguments+=("$argument"); fi
done

jobs=$(nproc)
passed=0 failed=0 skipped=0
summary=()
names=()

# build PRESET: 0 when it is built.
build() {
    echo "== building: $1"
    local log status
    log=$(mktemp)
    { cmake --preset "$1" && cmake --build --preset "$1" -j "$jobs"; } >"$log" 2>&1
    status=$?
    grep -A5 'warning:' "$log" | head -n 60
    [ $status = 0 ] || tail -n 60 "$log"
    rm -f "$log"
    [ $status = 0 ] && return 0
    summary+=("$1: does not build")
    failed=$((failed + 1))
    return 1
}

# run_tests PRESET FOLDER ARGUMENTS...: builds and runs them, and adds up what came of it.
run_tests() {
    local preset=$1 folder=$2 report=$PWD/$2/tests.xml
    shift 2
    build "$preset" || return
    echo "== testing: $preset"
    rm -f "$report"
    (cd "$folder" && ctest -j "$jobs" --output-on-failure --no-tests=error --output-junit "$report" "$@")
    count "$preset" "$report"
}

count() {
    local preset=$1 report=$2 all bad left
    if [ ! -s "$report" ]; then
        summary+=("$preset: no test ran")
        failed=$((failed + 1))
        return
    fi
    all=$(grep -c '<testcase ' "$report")
    bad=$(grep -c '<testcase .*status="fail"' "$report")
    left=$(grep -c '<testcase .*status="\(notrun\|disabled\)"' "$report")
    passed=$((passed + all - bad - left)) failed=$((failed + bad)) skipped=$((skipped + left))
    summary+=("$preset: $all tests, $bad failed, $left skipped")
    while read -r name; do
        names+=("$preset: $name")
    done < <(sed -n 's/.*<testcase name="\([^"]*\)".*status="\(fail\|notrun\|disabled\)".*/\2 \1/p' "$report" |
        sed 's/^fail/failed:/; s/^\(notrun\|disabled\)/skipped:/')
}

purposes=(build test)
[ ${#arguments[@]} = 0 ] && purposes+=(check)
packaging/install-dependencies "${purposes[@]}" || exit
# A machine may carry trust and proxies of its own; the tests bring theirs.
unset SSL_CERT_FILE SSL_CERT_DIR CURL_CA_BUNDLE REQUESTS_CA_BUNDLE OPENSSL_CONF SOFTHSM2_CONF CREDENTIALS_DIRECTORY
unset http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY
export LC_ALL=C.UTF-8

if [ "$(id -u)" != 0 ]; then
    arguments_of_user=(-LE privileged)
    summary+=("the tests that need several users, labelled privileged, run only as root")
fi
run_tests debug build-debug ${arguments_of_user[@]+"${arguments_of_user[@]}"} ${arguments[@]+"${arguments[@]}"}
if [ ${#arguments[@]} = 0 ]; then
    run_tests clang build-clang ${arguments_of_user[@]+"${arguments_of_user[@]}"}
    build release && summary+=("release: built")
fi

echo
printf '%s\n' "${names[@]}" "${summary[@]}" | sed '/^$/d'
status=0
[ $failed = 0 ] || status=1
if [ "$no_skip" = true ] && [ $skipped != 0 ]; then
    echo "a skipped test counts as a failure here"
    status=1
fi
echo "$passed passed, $failed failed, $skipped skipped"
exit $status
