#!/bin/bash
# The scripts parse, and every line of packaging/dependencies has its purposes, a Debian and a Fedora package.
set -euo pipefail
cd "$AE_SOURCE"

for script in .ci/run tests/run.sh tests/bench/enroll packaging/try.sh packaging/map packaging/install-dependencies; do
    [ -x "$script" ] || { echo "$script cannot be executed"; exit 1; }
    bash -n "$script"
done
awk '
    /^#/ { next }
    NF != 3 { print "packaging/dependencies:" NR ": not three columns"; wrong = 1 }
    $1 !~ /^(build|try|test|check)(,(build|try|test|check))*$/ { print "packaging/dependencies:" NR ": purpose " $1; wrong = 1 }
    ($2 == "-" && $3 == "-") || seen[$2, $3]++ { print "packaging/dependencies:" NR ": says nothing new"; wrong = 1 }
    { n++ }
    END { exit wrong || n < 20 }' packaging/dependencies
