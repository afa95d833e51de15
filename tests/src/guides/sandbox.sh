# A host of its own for one document: sandbox.sh DIRECTORY ARFW WORKSPACE. Its namespaces take everything along when they end.
# Whatever is written goes to memory; of the real host it sees programs and files, and no network.
set -e
top=$1/top
mkdir "$top"
mount -t tmpfs tmpfs "$top"
mkdir "$top/upper" "$top/work" "$top/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$top/upper,workdir=$top/work" "$top/root"
root=$top/root
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t bpf bpf "$root/sys/fs/bpf"
mount --rbind /dev "$root/dev"
rm -rf "$root/etc/arfw" "$root/var/lib/arfw" "$root/var/ossec"
for private in run tmp root; do mount -t tmpfs -o mode=755 tmpfs "$root/$private"; done
mkdir "$root/run/guide"
mount --bind "$1/guide" "$root/run/guide"
# As the package lays it out.
touch "$root/usr/bin/arfw"
mount --bind "$2" "$root/usr/bin/arfw"
mkdir -p "$root/etc/arfw" "$root/usr/share/doc/arfw/examples"
cp "$3/packaging/arfw.toml" "$root/etc/arfw"
cp "$3"/packaging/sample/* "$root/usr/share/doc/arfw/examples"
ip link set lo up
exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 COLUMNS=80 bash --norc
