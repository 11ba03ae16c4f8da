#!/bin/bash
# The installed programs as their units run them: two users, the system calls that the units allow, no network for the
# daemon, no writable code, workers behind a socket, readiness told, a bus and polkit with the installed files. It
# enrolls, nothing had to be more open, and members of the group may command it.
# Has to be root.
set -uo pipefail
[ "$(id -u)" = 0 ] || exit 77
if [ "${AE_SANDBOX:-}" != inside ]; then
    exec env AE_SANDBOX=inside unshare --mount bash "$0"
fi
. "$AE_SOURCE/tests/shape/stage.sh"
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; wait; rm -rf "$work"' EXIT
die() {
    echo "$*"
    exit 1
}
# wait_for SECONDS COMMAND...
wait_for() {
    local limit=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $limit ] || return 1
        sleep 0.05
    done
}

# --- the users and directories that packaging makes ---

systemd-sysusers --root="$root" 2>/dev/null || die "no users"
systemd-tmpfiles --root="$root" --create autoenroll.conf || die "no directories"
for file in passwd group; do
    # Those of this machine stay, for whatever else a program looks up.
    awk -F: 'NR == FNR { print; seen[$1]; next } !($1 in seen)' "$root/etc/$file" "/etc/$file" >"$work/$file"
    sed -i 's/^autoenroll-admin:.*/&nobody/' "$work/$file"
    mount --bind "$work/$file" "/etc/$file" || exit 77
done
owners() { (cd "$root/var/lib" && stat -c '%n %U %G %a' autoenroll autoenroll/* autoenroll-deploy); }
before=$(owners)

# --- what the units allow ---

set_of() { # set_of @SET: the calls in it, those of the sets in it too
    local name
    for name in $(systemd-analyze --no-pager syscall-filter "$1" | sed -n 's/^    \([@a-z0-9_-]*\)$/\1/p'); do
        case $name in
        @*) set_of "$name" ;;
        *) echo "$name" ;;
        esac
    done
}
allowed() { # allowed UNIT: address families, and calls by its SystemCallFilter lines, in their order
    local line word
    sed -n 's/^RestrictAddressFamilies=//p' "$at/lib/systemd/system/$1"
    : >"$work/calls"
    sed -n 's/^SystemCallFilter=//p' "$at/lib/systemd/system/$1" | while read -r line; do
        for word in ${line#\~}; do
            case $word in @*) set_of "$word" ;; *) echo "$word" ;; esac
        done | sort -u >"$work/line"
        case $line in
        \~*) comm -23 "$work/calls" "$work/line" ;;
        *) sort -u "$work/calls" "$work/line" ;;
        esac >"$work/sum"
        mv "$work/sum" "$work/calls"
    done
    cat "$work/calls"
}
allowed autoenrolld.service >"$work/daemon.calls"
allowed autoenroll-worker@.service >"$work/worker.calls"
"${CC:-cc}" -o "$work/enter" "$AE_SOURCE/tests/sandbox/enter.c" -lseccomp || die "no sandbox"
# Those who look for leaks look into other processes, which no unit here allows.
export ASAN_OPTIONS=detect_leaks=0
as() { # as USER CALLS: the beginning of a command line
    echo setpriv --reuid="$1" --regid="$1" --clear-groups --bounding-set=-all "$work/enter" "$work/$2.calls"
}

# --- a server, and what the administrator gives ---

"$at/bin/autoenroll-server-ref" init "$work/server" --user demo >/dev/null || die "no server"
"$at/bin/autoenroll-server-ref" serve "$work/server" --port 0 >"$work/server.log" 2>&1 &
pids+=($!)
wait_for 20 grep -q '^READY' "$work/server.log" || die "no server"
url=$(sed -n 's/^READY //p' "$work/server.log")
mkdir "$work/credentials"
mv "$work/server/password" "$work/credentials/demo.password"
chown -R autoenroll-worker "$work/credentials"
chmod -R go= "$work/credentials"
install -m 644 "$work/server/root.pem" "$work/root.pem"
cat >"$root/etc/autoenroll/autoenroll.conf" <<END
[policy-server "demo"]
uri           = $url/ADPolicyProvider_CEP_UsernamePassword/service.svc/CEP
auth          = username
username      = demo
ca-file       = $work/root.pem
ces-hosts     = ${url#https://}

[certificate "device"]
policy-server = demo
template      = DeviceEC
subject       = CN=device.example
dns           = device.example
END

# --- worker socket and daemon ---

mapfile -t environment < <(sed -n "s#^Environment=\([^=]*\)=/var/#--setenv=\1=$root/var/#p" "$at/lib/systemd/system/autoenroll-worker@.service")
systemd-socket-activate --accept --listen="$work/worker.socket" "${environment[@]}" --setenv=ASAN_OPTIONS="$ASAN_OPTIONS" \
    --setenv=CREDENTIALS_DIRECTORY="$work/credentials" $(as autoenroll-worker worker) "$at/libexec/autoenroll/autoenroll-worker" 2>"$work/worker.log" &
pids+=($!)
wait_for 10 test -S "$work/worker.socket" || die "no socket for workers: $(cat "$work/worker.log")"
chown autoenroll "$work/worker.socket"
chmod 0600 "$work/worker.socket"

mkdir -m 0755 "$work/run"
chown autoenroll "$work/run"
systemd-socket-activate --datagram --listen="$work/notify" --setenv=OUT="$work/told" \
    sh -c 'exec head -c 7 <&3 >"$OUT"' 2>/dev/null &
pids+=($!)
wait_for 10 test -S "$work/notify" || die "no socket for readiness"
chmod 0666 "$work/notify"

# --- a bus and polkit ---

mkdir -m 0755 "$work/bus"
cat >"$work/bus/bus.conf" <<END
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=$work/bus/socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <includedir>$at/share/dbus-1/system.d</includedir>
  <include ignore_missing="yes">/usr/share/dbus-1/system.d/org.freedesktop.PolicyKit1.conf</include>
</busconfig>
END
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=$work/bus/socket
dbus-daemon --config-file="$work/bus/bus.conf" --nofork --nopidfile 2>"$work/bus/log" &
pids+=($!)
wait_for 10 test -S "$work/bus/socket" || die "no bus: $(cat "$work/bus/log")"
for folder in actions rules.d; do
    mount --bind "$at/share/polkit-1/$folder" "/usr/share/polkit-1/$folder" || exit 77
done
/usr/lib/polkit-1/polkitd --no-debug >"$work/polkit.log" 2>&1 &
pids+=($!)
gdbus wait --system --timeout 10 org.freedesktop.PolicyKit1 || die "no polkit: $(cat "$work/polkit.log")"

cd / # as services are
export NOTIFY_SOCKET=$work/notify WATCHDOG_USEC=1800000000
unshare --net $(as autoenroll daemon) "$at/sbin/autoenrolld" --config="$root/etc/autoenroll/autoenroll.conf" \
    --state-dir="$root/var/lib/autoenroll" --deploy-results="$root/var/lib/autoenroll-deploy" \
    --runtime-dir="$work/run" --worker-socket="$work/worker.socket" 2>"$work/daemon.log" &
daemon=$!
pids+=($daemon)
logs() { cat "$work/daemon.log" "$work/worker.log"; }
certificate=$root/var/lib/autoenroll/public/certs/device/current/cert.pem
enrolled_or_ended() { [ -s "$certificate" ] || ! kill -0 "$daemon" 2>/dev/null; }
wait_for 60 enrolled_or_ended
[ -s "$certificate" ] || die "nothing was enrolled: $(logs)"
openssl verify -CAfile "$work/root.pem" -untrusted "$(dirname "$certificate")/chain.pem" "$certificate" >/dev/null ||
    die "what was enrolled is no certificate"
if grep -q libsystemd <(ldd "$at/sbin/autoenrolld"); then
    wait_for 10 grep -q 'READY=1' "$work/told" || die "it is never ready: $(logs)"
fi
[ "$(cat "/proc/$daemon/status" | sed -n 's/^CapEff:\t//p')" = 0000000000000000 ] || complain "the daemon has capabilities"
[ -z "$(ls "/proc/$daemon/task" | sed 1d)" ] || complain "the daemon has threads"

# --- who may command it ---

pulse() { # pulse USER: what becomes of it
    setpriv --reuid="$1" --clear-groups busctl --system call org.autoenroll.Agent1 /org/autoenroll/Agent1 \
        org.autoenroll.Agent1.Manager Pulse 2>&1
}
gdbus wait --system --timeout 10 org.autoenroll.Agent1 || die "it has no name on the bus: $(logs)"
[[ $(pulse nobody) = 'o "/org/autoenroll/Agent1/jobs/'* ]] || complain "a member of the group may not: $(pulse nobody)"
[[ $(pulse bin) = *'ccess denied'* ]] || complain "somebody else may: $(pulse bin)"
! grep -i autoenroll "$work/bus/log" || complain "the bus does not like its policy"

kill -HUP "$daemon"
kill "$daemon"
wait "$daemon" || complain "it did not end well: $(logs)"
after=$(owners)
[ "$before" = "$after" ] || complain "owners and modes were $before and are $after"
! grep -qi 'not permitted' "$work/daemon.log" "$work/worker.log" || complain "something was refused: $(logs)"
verdict
