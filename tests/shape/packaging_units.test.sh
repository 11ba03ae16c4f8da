#!/bin/bash
# The units as they are installed: without a warning, well closed, and of one mind.
set -uo pipefail
. "$AE_SOURCE/tests/shape/stage.sh"

# Programs are looked for where they were installed; and no unit of this machine stands in for one of ours.
units=$work/units
mkdir "$units"
for unit in "$at"/lib/systemd/system/*; do
    sed "s#^\(Exec[A-Za-z]*=[-+!]*\)$prefix/\([a-z]*/autoenroll\)#\1$at/\2#" "$unit" >"$units/$(basename "$unit")"
done
instance=$units/autoenroll-worker@1.service
ln -s autoenroll-worker@.service "$instance"
export SYSTEMD_UNIT_PATH=$units:/usr/lib/systemd/system:/lib/systemd/system MANPATH=$at/share/man

for unit in "$units"/*[!@].{service,socket,path}; do
    [ ! -e "$unit" ] || silent "$(basename "$unit")" systemd-analyze verify --man=yes "$unit"
done
for example in "$at"/share/doc/autoenroll/systemd/*.conf; do
    mkdir "$instance.d"
    cp "$example" "$instance.d"
    silent "$(basename "$example")" systemd-analyze verify --man=yes "$instance"
    rm -r "$instance.d"
done

# security UNIT LIMIT: exposed by at most LIMIT tenths; what is left, and why, stands in the unit.
security() {
    systemd-analyze security --offline=yes --no-pager --threshold="$2" "$units/$1" >"$work/security" 2>&1 ||
        complain "$1 is too open: $(grep '✗' "$work/security")"
    grep Overall "$work/security" || complain "$1 cannot be judged"
}
security autoenrolld.service 10
security autoenroll-worker@1.service 15
security autoenroll-token.service 15
security autoenroll-deploy.service 60

value() { # value UNIT KEY
    sed -n "s/^$2=//p" "$units/$1"
}
socket=$(value autoenroll-worker.socket ListenStream)
[[ $(value autoenrolld.service ExecStart)" " = *" --worker-socket=$socket "* ]] ||
    complain "the daemon connects to another socket than $socket"
[ "$(value autoenroll-worker.socket SocketUser)" = "$(value autoenrolld.service User)" ] ||
    complain "the workers' socket is not the daemon's"
grep -q "^#define KEEPER_MAX_WORKERS $(value autoenroll-worker.socket MaxConnections) " \
    "$AE_SOURCE/agent/daemon/keeper.h" || complain "the socket has another limit of workers"
for unit in autoenrolld.service autoenroll-worker@.service; do
    grep -q "^u  *$(value "$unit" User) " "$at/lib/sysusers.d/autoenroll.conf" || complain "nobody makes the user of $unit"
done
verdict
