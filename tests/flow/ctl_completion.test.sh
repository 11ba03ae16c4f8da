#!/bin/bash
# Every shell offers every verb, the options of each, and the real names that a daemon knows.
set -euo pipefail
dir=$(mktemp -d)
pids=()
clean_up() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap clean_up EXIT
for program in dbus-daemon zsh fish; do
    command -v $program >/dev/null || { echo "$program is not installed"; exit 77; }
done
[ -r /usr/share/bash-completion/bash_completion ] || { echo "bash-completion is not installed"; exit 77; }
export PATH=$AE_BIN:$PATH HOME=$dir XDG_CONFIG_HOME=$dir XDG_DATA_HOME=$dir LC_ALL=C.UTF-8
completions=$AE_SOURCE/packaging/completions

# --- a daemon that knows a name, and needs no server for that ---
cat >"$dir/bus.conf" <<END
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=$dir/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/>
<allow send_requested_reply="true"/><allow receive_type="method_call"/><allow receive_type="method_return"/>
<allow receive_type="error"/><allow receive_type="signal"/></policy></busconfig>
END
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=$dir/bus
dbus-daemon --config-file="$dir/bus.conf" --nofork --nopidfile 2>/dev/null &
pids+=($!)
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$dir/key" -out "$dir/root.pem" -subj /CN=x 2>/dev/null
cat >"$dir/autoenroll.conf" <<END
[policy-server "head-office"]
uri = https://localhost:1/CEP
auth = username
username = alice
ca-file = $dir/root.pem
END
users=()
[ "$(id -u)" != 0 ] || users=(--run-as root --worker-as root)
autoenrolld --config "$dir/autoenroll.conf" --state-dir "$dir/state" --runtime-dir "$dir" "${users[@]}" >"$dir/log" 2>&1 &
pids+=($!)
for _ in $(seq 200); do
    autoenroll server list >/dev/null 2>&1 && break
    sleep 0.1
done
autoenroll server list | grep -q head-office || { echo "the daemon does not answer"; cat "$dir/log"; exit 1; }

# --- what each shell offers behind "autoenroll WORDS" ---
in_bash() {
    bash -c '. /usr/share/bash-completion/bash_completion; . "$1"; shift
        COMP_WORDS=(autoenroll "$@") COMP_CWORD=$# COMP_LINE="autoenroll $*" COMP_POINT=$((${#COMP_LINE}))
        _autoenroll; printf "%s\n" "${COMPREPLY[@]}"' bash "$completions/autoenroll.bash" "$@"
}
in_zsh() {
    zsh -f -c 'file=$1; shift
        compdef() { :; }
        . $file
        _describe() { local -a list; list=("${(@P)2}"); print -rl -- "${(@)list%%:*}"; }
        _files() { print -r -- FILES; }
        words=(autoenroll "$@") CURRENT=$(($# + 1))
        _autoenroll' zsh "$completions/autoenroll.zsh" "$@"
}
in_fish() {
    fish --no-config -c 'source $argv[1]; complete --do-complete "$argv[2]"' "$completions/autoenroll.fish" "autoenroll $*" |
        cut -f1
}

status=0
expect() { # SHELL WANTED WORDS...: WANTED is among what is offered
    local shell=$1 wanted=$2 offered
    shift 2
    offered=$("in_$shell" "$@")
    grep -qxF -- "$wanted" <<<"$offered" && return
    echo "$shell does not offer '$wanted' after 'autoenroll $*', but: $(tr '\n' ' ' <<<"$offered")"
    status=1
}
verbs=$(autoenroll --help | sed -n 's/^  \([a-z][a-z-]*\).*/\1/p' | sort -u)
[ "$(wc -l <<<"$verbs")" -ge 20 ] || { echo "--help names too few verbs"; exit 1; }
for shell in bash zsh fish; do
    offered=$("in_$shell" "")
    for verb in $verbs; do
        grep -qx -- "$verb" <<<"$offered" || { echo "$shell does not offer the verb $verb"; status=1; }
    done
    expect $shell test server ""
    expect $shell head-office login ""
    expect $shell head-office server test "h"
    expect $shell head-office enroll --server ""
    expect $shell --same-key renew --
    expect $shell nginx show --for ""
    expect $shell session --bus ""
done
touch "$dir/message.xml"
cd "$dir"
expect bash message.xml decode mess
expect fish message.xml decode mess

# --- without a daemon: silence, and the verbs all the same ---
kill "${pids[1]}"
wait "${pids[1]}" || true
[ -z "$(autoenroll --complete -- login '' 2>&1)" ] || { echo "names from nowhere"; status=1; }
expect bash status sta
exit $status
