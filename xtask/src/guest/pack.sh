#!/bin/sh
# Takes out of a finished build root what a guest needs, into $HELIX_GUEST_OUT:
#   vmlinux  initramfs  headers/  module-include/  commands  packages
# mmdebstrap calls this as root with the build root as the only argument.
set -eu
root=$1
out=$HELIX_GUEST_OUT
tree=$out/tree
mkdir -p "$tree"

kernel=$(ls "$root/lib/modules")
case $kernel in
*[!0-9a-z.+-]*) echo "expected one kernel, found: $kernel" >&2; exit 1 ;;
esac
if ! ls "$root/lib/modules/$kernel/updates/dkms/"zfs.ko* >/dev/null; then
    cat "$root"/var/lib/dkms/zfs/*/build/make.log >&2 || true
    echo "dkms did not build the zfs module for $kernel" >&2
    exit 1
fi

# The kernel as ELF: QEMU enters it directly, and nothing is decompressed at every boot.
# Offsets are those of the x86 boot protocol: setup_sects, payload_offset, payload_length.
image=$root/boot/vmlinuz-$kernel
number() { od -An -v "-tu$2" -j "$1" -N "$2" "$image" | tr -d ' '; }
start=$((($(number 497 1) + 1) * 512 + $(number 584 4)))
length=$(($(number 588 4) - 4))
payload() { tail -c "+$((start + 1))" "$image" | head -c "$length"; }
case $(payload | head -c 4 | od -An -v -tx1 | tr -d ' ') in
fd377a58) payload | xz -dc >"$out/vmlinux" ;;
28b52ffd) payload | zstd -dcq >"$out/vmlinux" ;;
02214c18) payload | lz4 -dcq >"$out/vmlinux" ;;
1f8b*) payload | gzip -dc >"$out/vmlinux" ;;
*) echo "the compression of $image is unknown" >&2; exit 1 ;;
esac
if [ "$(head -c 4 "$out/vmlinux" | od -An -v -tx1 | tr -d ' ')" != 7f454c46 ]; then
    echo "$image holds no ELF kernel" >&2
    exit 1
fi

# Userland. The directory links are those of a merged /usr.
mkdir -p "$tree"/usr/bin "$tree"/usr/sbin "$tree"/usr/lib/x86_64-linux-gnu "$tree"/usr/lib64 \
    "$tree"/etc/zfs "$tree"/etc/modules "$tree"/dev "$tree"/proc "$tree"/sys "$tree"/run \
    "$tree"/root "$tree"/mnt "$tree"/var/tmp "$tree"/home/tenant "$tree"/home/operator "$tree"/out
for link in bin sbin lib lib64; do ln -s "usr/$link" "$tree/$link"; done
mkdir -m 1777 "$tree/tmp"
mknod -m 600 "$tree/dev/console" c 5 1

# zinject and zstream's test tools are in zfs-test, whose dependencies are half a distribution.
mkdir "$root/unpacked"
for package in "$root"/root/*.deb; do dpkg-deb -x "$package" "$root/unpacked"; done
cp "$(find "$root/unpacked" -type f -name zinject)" "$root/usr/sbin/zinject"

programs="zfs zpool zdb zinject zstream zhack zgenhostid mount.zfs"
for program in $programs; do
    cp "$root/usr/sbin/$program" "$tree/usr/sbin/$program"
done
cp "$root/usr/bin/busybox" "$tree/usr/bin/busybox"
libraries=$(for program in $programs; do chroot "$root" ldd "/usr/sbin/$program"; done |
    sed -n 's/.*=> \(\/[^ ]*\).*/\1/p; s/^[[:space:]]*\(\/[^ ]*ld-linux[^ ]*\).*/\1/p' | sort -u)
# A Rust program needs libgcc_s, and so does a C one that ends a thread early.
for library in $libraries /lib/x86_64-linux-gnu/libgcc_s.so.1 /lib64/ld-linux-x86-64.so.2; do
    cp -L "$root$library" "$tree$library"
done
for library in libzfs_core.so libnvpair.so; do
    if ! ls "$tree/usr/lib/x86_64-linux-gnu/$library".* >/dev/null; then
        echo "$library is not in the guest" >&2
        exit 1
    fi
done
for applet in $(chroot "$root" busybox --list); do
    if [ ! -e "$tree/usr/bin/$applet" ] && [ ! -e "$tree/usr/sbin/$applet" ]; then
        ln -s busybox "$tree/usr/bin/$applet"
    fi
done
if [ -d "$root/usr/share/zfs/compatibility.d" ]; then
    mkdir -p "$tree/usr/share/zfs"
    cp -a "$root/usr/share/zfs/compatibility.d" "$tree/usr/share/zfs/"
fi

cat >"$tree/etc/passwd" <<END
root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
tenant:x:1000:1000:tenant:/home/tenant:/bin/sh
operator:x:1001:1001:operator:/home/operator:/bin/sh
END
cat >"$tree/etc/group" <<END
root:x:0:
nogroup:x:65534:
tenant:x:1000:
operator:x:1001:
END
chown 1000:1000 "$tree/home/tenant"
chown 1001:1001 "$tree/home/operator"
echo '127.0.0.1 localhost helix-guest' >"$tree/etc/hosts"
echo helix-guest >"$tree/etc/hostname"
echo 'passwd: files
group: files
hosts: files' >"$tree/etc/nsswitch.conf"
echo 68656c69782d7a667300000000000001 >"$tree/etc/machine-id"
printf '\001\147\145\150' >"$tree/etc/hostid"
ln -s /proc/self/mounts "$tree/etc/mtab"

# Kernel modules: plain and without debug data, in the order in which they load.
for module in virtio_pci virtio_mmio virtio_console virtio_blk virtio_rng virtio_net loop ext4 \
    overlay zfs; do
    chroot "$root" modprobe -S "$kernel" --show-depends "$module"
done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' >"$out/modules.list"
while read -r path; do
    name=$(basename "$path")
    name=${name%.xz}
    name=${name%.zst}
    case $path in
    *.xz) xz -dc "$root$path" ;;
    *.zst) zstd -dcq "$root$path" ;;
    *) cat "$root$path" ;;
    esac >"$out/module"
    objcopy --strip-debug -R .BTF "$out/module" "$tree/etc/modules/$name"
    echo "$name" >>"$tree/etc/modules/order"
done <"$out/modules.list"
rm "$out/module" "$out/modules.list"

# What comes after the modules is in the payload, so that it can change without a new guest.
cat >"$tree/init" <<'END'
#!/bin/sh
export PATH=/usr/sbin:/usr/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r module; do insmod "/etc/modules/$module"; done </etc/modules/order
tar -xf /dev/vda -C / && exec /bin/sh /helix/init
echo "helix: the payload cannot be read" >/dev/console
echo b >/proc/sysrq-trigger
END
chmod 755 "$tree/init"

(cd "$tree" && find . | LC_ALL=C sort | cpio --quiet -o -H newc) >"$out/initramfs"
ls "$tree/usr/bin" "$tree/usr/sbin" | sed '/^$/d; /:$/d' | sort -u >"$out/commands"
rm -r "$tree"

# The headers of this version, for the bindings and the layout checks.
mkdir "$out/headers"
cp -r "$root/unpacked/usr/include/libzfs" "$root/unpacked/usr/include/libspl" "$out/headers/"
cp -r "$root"/usr/src/zfs-*/include "$out/module-include"
chroot "$root" dpkg-query -W linux-image-"$kernel" zfs-dkms zfsutils-linux >"$out/packages"
