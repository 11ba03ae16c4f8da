#!/bin/bash
# What is installed: programs where the units and the daemon look for them, users, directories with the owners and modes
# that the daemon itself would give them, and an example configuration that it takes.
set -uo pipefail
. "$AE_SOURCE/tests/shape/stage.sh"

for file in sbin/autoenrolld bin/autoenroll bin/autoenroll-server-ref libexec/autoenroll/autoenroll-worker; do
    [ -x "$at/$file" ] || complain "$file is not installed"
done
grep -qx "$prefix/libexec/autoenroll/autoenroll-worker" <(strings -a "$at/sbin/autoenrolld") ||
    complain "the daemon looks for its worker elsewhere"

# What the administrator wrote stays.
echo '; mine' >"$root/etc/autoenroll/autoenroll.conf"
DESTDIR=$root cmake --install "$build" >/dev/null 2>&1 || complain "installing again fails"
grep -qx '; mine' "$root/etc/autoenroll/autoenroll.conf" || complain "a configuration was overwritten"

# The example as it is: nothing is configured. Without the semicolons: every section is taken.
check() {
    "$at/sbin/autoenrolld" --check --config="$1" >"$work/checked" 2>&1 || complain "$1: $(cat "$work/checked")"
}
example=$at/share/doc/autoenroll/autoenroll.conf
check "$example"
grep -q policy-server "$work/checked" && complain "the example configures a server"
sed 's/^;\(\[\|[a-z0-9-]* *= \)/\1/' "$example" >"$work/autoenroll.conf"
check "$work/autoenroll.conf"
for section in '[agent]' '[policy-server "corp"]' '[policy-server "corp-renewal"]' '[certificate "web"]' '[watch "haproxy"]'; do
    grep -qxF "$section" "$work/checked" || complain "the example has no $section"
done

systemd-sysusers --root="$root" 2>"$work/users" || complain "systemd-sysusers: $(cat "$work/users")"
silent "systemd-sysusers, again" systemd-sysusers --root="$root"
for name in autoenroll autoenroll-worker; do
    grep -q "^$name:.*:/usr/sbin/nologin\$" "$root/etc/passwd" || complain "there is no user $name"
done
grep -q "^autoenroll-admin:" "$root/etc/group" || complain "there is no group autoenroll-admin"
verdict
