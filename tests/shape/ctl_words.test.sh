#!/bin/bash
# autoenroll(1) names every verb and every option that the program has, and no other.
set -euo pipefail
page=$AE_SOURCE/packaging/man/autoenroll.1.scd
program=$AE_BIN/autoenroll
status=0
# same WHAT FILE FILE: both lists of words are the same.
same() {
    local difference
    difference=$(diff "$2" "$3") && return
    echo "$1, the program '<', the page '>':"
    echo "$difference"
    status=1
}
verbs() { "$program" --help | sed -n 's/^  \([a-z][a-z-]*\( list\| test\)\{0,1\}\) .*/\1/p' | sort -u; }
page_verbs() { # the terms of the two sections and of the one about machines: *VERB* and what follows it
    awk '/^# /{ in_it = /LOOKING|DOING|MACHINE/ } in_it && /^\*[a-z]/' "$page" | sed 's/^\*\([^*]*\)\*.*/\1/' | sort -u
}
options() { { "$program" --help; verbs | while read -r verb; do "$program" $verb --help; done; } |
    grep -o -- '^  --[a-z-]*' | sort -u | tr -d ' '; }
page_options() { grep -o -- '\*--[a-z-]*\*' "$page" | tr -d '*' | sort -u; }

same verbs <(verbs) <(page_verbs)
same options <(options) <(page_options)
[ "$(verbs | wc -l)" -ge 20 ] || { echo "--help lists too few verbs"; status=1; }
# Each verb's help says how it is used and what it ends with.
for verb in $(verbs | grep -v ' '); do
    [ "$verb" != server ] || continue
    text=$("$program" "$verb" --help)
    grep -q "^usage: autoenroll $verb" <<<"$text" && grep -q '^Exit status:' <<<"$text" ||
        { echo "'autoenroll $verb --help' lacks its usage or its exit status"; status=1; }
    "$program" "$verb" --nonsense >/dev/null 2>&1 && { echo "$verb takes --nonsense"; status=1; }
done
# What is wrong on the command line ends with 64, and says where to look.
for wrong in "" nonsense "show" "list something" "list --wait" "server" "renew a b" "--bus" "status --bus nowhere"; do
    code=0
    said=$("$program" $wrong 2>&1) || code=$?
    [ $code = 64 ] || { echo "'autoenroll $wrong' ends with $code"; status=1; }
    [[ $said == *autoenroll* ]] || { echo "'autoenroll $wrong' says nothing"; status=1; }
done
exit $status
