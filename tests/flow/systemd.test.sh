#!/bin/bash
# A machine that is made of this one and given up again: systemd boots in namespaces of its own, on a copy of the file
# system, with what was installed. The bus starts the daemon, workers get an encrypted password, a certificate is
# enrolled, put where a service wants it, and renewed; who may not is refused, and nothing fails.
# Has to be root.
set -uo pipefail

case ${1:-outside} in
outside)
    [ "$(id -u)" = 0 ] && [ -x /lib/systemd/systemd ] || exit 77
    . "$AE_SOURCE/tests/shape/stage.sh"
    mkdir "$work/out"
    timeout -s KILL 240 unshare --pid --fork --kill-child --mount --uts --ipc --cgroup --propagation private \
        bash "$(realpath "$0")" boot "$root" "$work/out" >"$work/boot" 2>&1
    [ -e "$work/out/booted" ] || {
        echo "systemd does not boot here: $(tail -n 5 "$work/boot")"
        exit 77
    }
    [ -e "$work/out/ended" ] || complain "it did not come to its end"
    grep '^FAILED' "$work/out/said" && complain "see above"
    verdict || cat "$work/out/said"
    verdict
    exit
    ;;
boot)
    # Pieces of this machine, an upper layer that is memory, and none of this machine's own services.
    new=$3/new
    mkdir "$new" && mount -t tmpfs upper "$new" && mkdir "$new"/{upper,work,root} || exit
    mount -t overlay -o "lowerdir=/,upperdir=$new/upper,workdir=$new/work" overlay "$new/root" || exit
    out=$3 staged=$2
    cd "$new/root" || exit
    rm -rf etc/systemd/system/*.wants usr/sbin/policy-rc.d var/lib/autoenroll* etc/autoenroll
    cp -a "$staged/." . && mkdir -p mnt/out old && cp "$0" mnt/test || exit
    for unit in systemd-{sysctl,modules-load,udevd,udev-trigger,random-seed,update-utmp,hwdb-update,networkd,resolved,timesyncd,logind}; do
        ln -sf /dev/null "etc/systemd/system/$unit.service"
    done
    mount -t proc proc proc && mount --bind proc/sys proc/sys && mount -o remount,ro,bind proc/sys || exit
    mount --rbind /sys sys && mount -t tmpfs fs sys/fs && mkdir sys/fs/cgroup && mount -t cgroup2 cgroup2 sys/fs/cgroup || exit
    mount -t tmpfs -o mode=755 run run && mount -t tmpfs tmp tmp && mount -t tmpfs -o mode=755 dev dev || exit
    for device in null zero full random urandom tty; do
        : >"dev/$device" && mount --bind "/dev/$device" "dev/$device" || exit
    done
    mkdir dev/pts && mount -t devpts -o newinstance,ptmxmode=0666 pts dev/pts && ln -s pts/ptmx dev/ptmx || exit
    mkdir dev/shm && ln -s /proc/self/fd dev/fd && mount --bind "$out" mnt/out || exit
    cat >etc/systemd/system/test.service <<END
[Unit]
Wants=dbus.socket systemd-journald.service
After=dbus.socket systemd-journald.service
[Service]
Type=oneshot
StandardOutput=file:/mnt/out/said
StandardError=inherit
ExecStart=/bin/bash /mnt/test inside
ExecStopPost=/bin/systemctl --no-block exit
END
    pivot_root . old && umount -l /old && mount --make-rshared / || exit
    exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --unit=test.service --log-target=null --show-status=no
    ;;
esac

# --- inside ---

: >/mnt/out/booted
# check WHAT COMMAND...
check() {
    local what=$1 said
    shift
    if said=$("$@" 2>&1); then echo "ok: $what"; else echo "FAILED: $what: $said"; fi
}
fails_with() { # fails_with STATUS COMMAND...
    local status=$1
    shift
    "$@"
    [ $? = "$status" ]
}
wait_for() { # wait_for COMMAND...
    local limit=$((SECONDS + 40))
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $limit ] || return 1
        sleep 0.1
    done
}

autoenroll-server-ref init /root/server --user demo >/dev/null
autoenroll-server-ref serve /root/server --port 0 >/root/ready 2>&1 &
server=$!
check "a server" wait_for grep -q ^READY /root/ready
url=$(sed -n 's/^READY //p' /root/ready)
install -m 644 /root/server/root.pem /etc/autoenroll/corp-root.pem
cat >/etc/autoenroll/autoenroll.conf <<END
[policy-server "corp"]
uri           = $url/ADPolicyProvider_CEP_UsernamePassword/service.svc/CEP
auth          = username
username      = demo
ca-file       = /etc/autoenroll/corp-root.pem
ces-hosts     = ${url#https://}

[certificate "device"]
policy-server = corp
template      = DeviceEC
subject       = CN=device.example
dns           = device.example
export        = /etc/demo
reload        = demo.service
END
mkdir /etc/demo
printf '[Service]\nExecStart=/bin/sleep infinity\nExecReload=/bin/touch /run/demo.reloaded\n' >/etc/systemd/system/demo.service

# As the manual page says, with the example that is installed.
dropins=/etc/systemd/system/autoenroll-worker@.service.d
mkdir -p /etc/credstore.encrypted $dropins
check "an encrypted password" systemd-creds encrypt --with-key=host --name=corp.password /root/server/password \
    /etc/credstore.encrypted/corp.password
cp /usr/share/doc/autoenroll/systemd/credentials.conf $dropins
# Builds with a sanitizer look for leaks at their end, by calls that the units do not allow, and want more memory.
systemctl set-environment ASAN_OPTIONS=detect_leaks=0
for unit in autoenrolld autoenroll-worker@; do
    mkdir -p /etc/systemd/system/$unit.service.d
    printf '[Service]\nMemoryMax=infinity\n' >/etc/systemd/system/$unit.service.d/sanitizer.conf
done
systemctl daemon-reload
check "what services want is watched for" systemctl start demo autoenroll-deploy.path

pulse() { busctl --system call org.autoenroll.Agent1 /org/autoenroll/Agent1 org.autoenroll.Agent1.Manager Pulse; }
check "the bus starts the daemon" pulse
check "the daemon is ready" systemctl is-active autoenrolld
certificate=/var/lib/autoenroll/public/certs/device/current/cert.pem
check "a certificate" wait_for test -s $certificate
check "it is where the service wants it" wait_for cmp $certificate /etc/demo/cert.pem
check "and the service was told" wait_for test -e /run/demo.reloaded
rm -f /run/demo.reloaded
first=$(openssl x509 -in $certificate -noout -serial)

pid=$(systemctl show -p MainPID --value autoenrolld)
check "the daemon is autoenroll" grep -q "^Uid:[[:space:]]$(id -u autoenroll)[[:space:]]" "/proc/$pid/status"
check "it has no network" test "$(grep -c : "/proc/$pid/net/dev")" = 1
check "it may not look at the token" fails_with 2 nsenter -t "$pid" -m ls /var/lib/autoenroll/token/tokens
check "the token is the worker's" test "$(stat -c '%U %a' /var/lib/autoenroll/token)" = "autoenroll-worker 700"

check "reload" systemctl reload autoenrolld
check "somebody may not" fails_with 77 runuser -u nobody -- autoenroll renew device
quiet() { [ -z "$(systemctl list-units --no-legend 'autoenroll-worker@*')" ]; }
check "workers end" wait_for quiet
check "root may" autoenroll renew device --wait
check "another certificate" test "$(openssl x509 -in $certificate -noout -serial)" != "$first"
check "it is where the service wants it" wait_for cmp $certificate /etc/demo/cert.pem

# As autoenroll-deploy(8) says: a service of another user, in the group, uses the key where it is.
check "a socket to the token" systemctl start autoenroll-token
usermod -aG autoenroll-token games
cat >/tmp/use <<'END'
export P11_KIT_SERVER_ADDRESS=unix:path=/run/autoenroll-token/pkcs11
PKCS11_MODULE_PATH=$(ls /usr/lib*/*/pkcs11/p11-kit-client.so /usr/lib64/pkcs11/p11-kit-client.so 2>/dev/null | head -n 1)
export PKCS11_MODULE_PATH
key='pkcs11:token=autoenroll;object=device;type=private?pin-source=file:/run/autoenroll-token/pin'
openssl dgst -sha256 -engine pkcs11 -keyform engine -sign "$key" -out /tmp/signature /etc/hostname &&
    openssl x509 -in /etc/demo/cert.pem -noout -pubkey >/tmp/public &&
    openssl dgst -sha256 -verify /tmp/public -signature /tmp/signature /etc/hostname
END
check "a service in its group signs with the new key" runuser -u games -- bash /tmp/use
check "nobody else comes near" fails_with 2 runuser -u nobody -- ls /run/autoenroll-token
check "and the service was told" wait_for test -e /run/demo.reloaded
check "status" autoenroll status
check "stop" systemctl stop autoenrolld
check "it ended well" test "$(systemctl show -p Result --value autoenrolld)" = success
check "nothing failed" test -z "$(systemctl list-units --failed --no-legend | grep autoenroll)"
journalctl --no-pager -u 'autoenroll*' >/root/journal 2>&1
check "nothing was forbidden" fails_with 1 grep -iE 'denied|not permitted|read-only' /root/journal
kill $server
cat /root/journal
: >/mnt/out/ended
