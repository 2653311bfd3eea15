# Process 1 of a guest from the point where the payload is unpacked: runs /helix/command and
# reports. On the host's side of the virtio ports are: helix.stdout, helix.stderr, helix.status
# (a line `started`, then the exit status) and, when wanted, helix.out (a tar of /out).
mount -t tmpfs tmpfs /run
mount -t tmpfs -o mode=1777 tmpfs /tmp
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
ln -s /proc/self/fd /dev/fd
ln -s /proc/self/fd/0 /dev/stdin
ln -s /proc/self/fd/1 /dev/stdout
ln -s /proc/self/fd/2 /dev/stderr
# What Debian's udev rule does: the module itself decides what an unprivileged user may do.
chmod 666 /dev/zfs
# A failed assertion of the module ends the guest at once, instead of a thread that never returns.
echo 1 >/sys/module/spl/parameters/spl_panic_halt
ifconfig lo up
hostname helix-guest

export PATH=/usr/sbin:/usr/bin:/helix/files HOME=/root USER=root LANG=C.UTF-8 TMPDIR=/tmp
export HELIX_ZFS_GUEST=1
HELIX_ZFS_DISKS=
for disk in /sys/block/vd[b-z]; do
    if [ -e "$disk" ]; then HELIX_ZFS_DISKS="$HELIX_ZFS_DISKS /dev/${disk##*/}1"; fi
done
export HELIX_ZFS_DISKS="${HELIX_ZFS_DISKS# }"
. /helix/env
cd /helix/files

# The network cards come in the order of their addresses.
card=0
for address in $HELIX_GUEST_ADDRESSES; do
    ip address add "$address" dev "eth$card"
    ip link set "eth$card" up
    card=$((card + 1))
done

port() {
    for port in /sys/class/virtio-ports/*; do
        read -r name <"$port/name"
        if [ "$name" = "$1" ]; then echo "/dev/${port##*/}"; fi
    done
}

status=$(port helix.status)
echo started >"$status"
if [ -e /helix/shell ]; then
    setsid -c sh -l </dev/hvc0 >/dev/hvc0 2>&1
    echo "$?" >"$status"
    echo b >/proc/sysrq-trigger
fi

# A port can be opened once only, so what a program may open again by name is a FIFO.
mkfifo -m 666 /run/stdout /run/stderr
cat /run/stdout >"$(port helix.stdout)" &
stdout=$!
cat /run/stderr >"$(port helix.stderr)" &
stderr=$!
out=$(port helix.out)
if [ -n "$out" ]; then
    ulimit -c unlimited
    echo /out/core.%e.%p >/proc/sys/kernel/core_pattern
fi

setsid sh /helix/command </dev/null >/run/stdout 2>/run/stderr
result=$?

# What the program left running would keep its output open for ever.
for process in /proc/[0-9]*; do
    process=${process#/proc/}
    case $process in
    1 | "$stdout" | "$stderr") ;;
    *) if [ -e "/proc/$process/exe" ]; then kill -9 "$process"; fi ;;
    esac
done 2>/dev/null
wait "$stdout" "$stderr"

if [ -n "$out" ]; then tar -cf "$out" -C /out .; fi
echo "$result" >"$status"
echo b >/proc/sysrq-trigger
