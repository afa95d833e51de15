#!/bin/sh
# Installs, runs, upgrades and purges the package in the root of a fresh system: try.sh ROOT FIRST SECOND.
# `cargo xtask package --try` calls it in namespaces of its own, which take mounts, interfaces and processes along.
set -eu
root=$1
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t bpf bpf "$root/sys/fs/bpf"
mount -t tmpfs tmpfs "$root/run"
mount --rbind /dev "$root/dev"
cp "$2" "$root"
cp "$3" "$root/srv/second.deb"
ip link set lo up
ip link add veth0 type veth peer name veth1
ip link set veth0 up
ip link set veth1 up
conf=/var/ossec/etc/ossec.conf
alerts=/var/ossec/logs/alerts/alerts.json
mkdir -p "$root/var/ossec/etc" "$root/var/ossec/logs/alerts"

run() {
    echo "# $*"
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 chroot "$root" "$@"
}
fail() {
    echo "error: $*" >&2
    [ ! -e "$root/srv/log" ] || cat "$root/srv/log" >&2
    exit 1
}
start() {
    echo '# arfw run &'
    chroot "$root" /usr/bin/arfw run --no-protect-ssh 2> "$root/srv/log" &
    tries=0
    until grep -q ' ready' "$root/srv/log"; do
        tries=$((tries + 1))
        [ $tries -lt 200 ] || fail "the daemon is not ready"
        sleep 0.1
    done
}
listed() { run arfw list | tee "$root/srv/list" && grep -q "$1" "$root/srv/list" || fail "$1 is not banned"; }

# The lines of docs/guides/first-ten-minutes.md, as they stand there.
cd "$root"
run apt install --yes ./arfw_*.deb
cp "$root/usr/share/doc/arfw/examples/ossec.conf" "$root$conf"
touch "$root$alerts"
run arfw check
start
run arfw ban 203.0.113.7 --for 1h --reason 'tried'
listed 203.0.113.7
run arfw status

run apt-get install --yes /srv/second.deb
listed 203.0.113.7
# Without a manager of services the operator restarts it; bans stand in the kernel meanwhile.
run arfw stop
listed 203.0.113.7
start
listed 203.0.113.7
run dpkg-query --show arfw

run apt purge --yes arfw
for left in /var/lib/arfw /run/arfw /sys/fs/bpf/arfw /usr/bin/arfw /etc/arfw /etc/default/arfw /usr/share/doc/arfw; do
    [ ! -e "$root$left" ] || fail "$left is left"
done
! ip -details link show | grep -q 'prog/xdp' || fail 'a program is left on an interface'
! chroot "$root" getent group arfw || fail 'group arfw is left'
! pgrep -x arfw || fail 'a daemon is left'
echo 'nothing is left'
