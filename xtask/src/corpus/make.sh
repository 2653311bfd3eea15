#!/bin/sh
# Makes small streams of every kind with the `zfs` command, as root in a guest with one scratch disk.
# Leaves in /out for each: NAME.zstream, NAME.dump (what `zstream dump` says of it) and NAME.info,
# lines `key value`: what it is, the stream that must be received before, a hash of what it holds.
set -eu

pool=corpus
phrase=corpus-passphrase
mnt=/mnt/corpus
mkdir -p "$mnt" /out
zpool create -O mountpoint=none -O canmount=noauto "$pool" "${HELIX_ZFS_DISKS%% *}"

# Bytes that do not compress, the same in every run.
noise() { # BYTES SEED
    i=0
    while [ $((i * 32)) -lt "$1" ]; do
        echo "$2 $i" | sha256sum | cut -c1-64
        i=$((i + 1))
    done | xxd -r -p | head -c "$1"
}
# Bytes that compress well and are not all the same.
text() { seq "$2" 99999 | head -c "$1"; }

fs() { # NAME [OPTIONS]
    name=$1
    shift
    zfs create -u -o mountpoint=legacy "$@" "$pool/$name" 2>/dev/null ||
        zfs create -o mountpoint=legacy "$@" "$pool/$name"
}
enter() { mount -t zfs "$pool/$1" "$mnt"; }
leave() { umount "$mnt"; }
device() { # the only volume's
    n=0
    until [ -b /dev/zd0 ]; do
        n=$((n + 1))
        [ "$n" -lt 100 ]
        sleep 0.1
    done
    echo /dev/zd0
}

# One hash of every file, symbolic link and directory below the current folder. The tests have the
# same lines.
contents() {
    {
        find . -type f | LC_ALL=C sort | xargs -r sha256sum
        find . -type l | LC_ALL=C sort | while read -r link; do
            echo "$link $(readlink "$link")"
        done
        find . -type d | LC_ALL=C sort
    } | sha256sum | cut -c1-64
}

snap() { zfs snapshot "$pool/$1"; }

# Sends with the options after `--`. SNAPSHOT is what the receiver has afterwards.
stream() { # NAME BASE|- SNAPSHOT|- WHAT -- ZFS-SEND-ARGUMENTS
    name=$1 base=$2 result=$3 what=$4
    shift 5
    zfs send "$@" >"/out/$name.zstream"
    about "$name" "$base" "$result" "$what" "zfs send $*"
}
about() { # NAME BASE RESULT WHAT COMMAND
    zstream dump <"/out/$1.zstream" >"/out/$1.dump"
    zstream dump -v <"/out/$1.zstream" >/tmp/verbose
    {
        # The summary does not count these.
        for type in OBJECT_RANGE REDACT; do
            echo "records $type $(grep -c "^$type " /tmp/verbose)"
        done
        echo "what $4"
        echo "command $5"
        if [ "$2" != - ]; then echo "base $2"; fi
        if [ "$3" != - ]; then
            echo "snapshot ${3##*@}"
            if [ "$(zfs get -Hpo value type "$pool/${3%@*}")" = filesystem ]; then
                if mount -t zfs -o ro "$pool/$3" "$mnt" 2>/dev/null; then
                    echo "contents $(cd "$mnt" && contents)"
                    umount "$mnt"
                fi
            fi
        fi
    } >"/out/$1.info"
    echo "$1: $(wc -c <"/out/$1.zstream") bytes" >&2
}

# --- an empty filesystem, the smallest stream there is
fs empty
snap empty@a
stream empty - empty@a "an empty filesystem" -- "$pool/empty@a"

# --- files, holes, links: full, incremental, from a bookmark, of a clone
fs plain -o compression=off -o recordsize=4K
enter plain
mkdir "$mnt/dir"
text 3000 1 >"$mnt/small"
noise 10000 1 >"$mnt/noise"
text 4096 7 >"$mnt/dir/one-block"
text 100 5 | dd of="$mnt/sparse" bs=1 seek=40960 2>/dev/null
ln "$mnt/small" "$mnt/dir/hard"
ln -s small "$mnt/link"
for n in 1 2 3 4 5 6 7 8; do echo "$n" >"$mnt/gone$n"; done
leave
snap plain@a
zfs bookmark "$pool/plain@a" "$pool/plain#a"
enter plain
rm "$mnt"/gone*
text 500 9 | dd of="$mnt/noise" bs=1 seek=4500 conv=notrunc 2>/dev/null
truncate -s 2000 "$mnt/sparse"
text 2500 3 >"$mnt/new"
leave
snap plain@b
zfs clone -o canmount=noauto -o mountpoint=legacy "$pool/plain@a" "$pool/clone"
enter clone
text 1000 4 >"$mnt/of-the-clone"
leave
snap clone@c
stream full - plain@a "files, a hole, hard and symbolic links" -- "$pool/plain@a"
stream incremental full plain@b "files changed, removed and cut short" \
    -- -i @a "$pool/plain@b"
stream bookmark full plain@b "the same, from a bookmark" -- -i "#a" "$pool/plain@b"
stream clone full clone@c "a clone against its origin" -- -i "$pool/plain@a" "$pool/clone@c"
stream intermediate full plain@b "a compound stream of the newer snapshots" \
    -- -I @a "$pool/plain@b"
stream properties - plain@a "a compound stream with properties" -- -p "$pool/plain@a"

# --- compression, embedded blocks, large blocks
fs packed -o compression=lz4 -o recordsize=16K
enter packed
text 40000 1 >"$mnt/text"
noise 9000 2 >"$mnt/noise"
echo "so little that it fits in the block pointer" >"$mnt/embedded"
text 300 2 >"$mnt/embedded-too"
leave
snap packed@a
stream compressed - packed@a "blocks as they are stored, LZ4" -- -c "$pool/packed@a"
stream embedded - packed@a "blocks that are stored in their pointer" -- -e "$pool/packed@a"
stream compressed-embedded - packed@a "both" -- -ce "$pool/packed@a"
fs zstd -o compression=zstd -o recordsize=16K
enter zstd
text 40000 1 >"$mnt/text"
leave
snap zstd@a
stream compressed-zstd - zstd@a "blocks as they are stored, ZSTD" -- -c "$pool/zstd@a"
fs large -o compression=off -o recordsize=256K
enter large
text 300000 1 >"$mnt/text"
leave
snap large@a
stream large-blocks - large@a "blocks of more than 128 KiB" -- -L "$pool/large@a"

# --- encrypted: raw
printf %s "$phrase" >/tmp/key
fs secret -o encryption=aes-256-gcm -o keyformat=passphrase -o keylocation=file:///tmp/key \
    -o compression=lz4 -o recordsize=8K
enter secret
text 20000 1 >"$mnt/text"
noise 9000 3 >"$mnt/noise"
echo secret >"$mnt/note"
for n in 1 2 3 4; do echo "$n" >"$mnt/gone$n"; done
leave
snap secret@a
enter secret
text 9000 5 | dd of="$mnt/text" bs=1 seek=1000 conv=notrunc 2>/dev/null
rm "$mnt"/gone*
echo more >"$mnt/more"
leave
snap secret@b
stream raw - secret@a "encrypted, as it is stored" -- -w "$pool/secret@a"
stream raw-incremental raw secret@b "encrypted, as it is stored, what changed" \
    -- -w -i @a "$pool/secret@b"
stream decrypted - secret@a "an encrypted filesystem, sent in the clear" -- "$pool/secret@a"

# --- whole trees
fs tree
fs tree/left -o compression=lz4 -o custom:note=left
fs tree/right
zfs snapshot -r "$pool/tree@a"
enter tree/left
echo left >"$mnt/left"
leave
zfs snapshot -r "$pool/tree@b"
zfs hold keep "$pool/tree@a"
stream replicate - tree@b "a tree with all its snapshots" -- -R "$pool/tree@b"
stream replicate-holds - tree@b "with its holds" -- -Rh "$pool/tree@b"
stream replicate-incremental replicate tree@b "what is newer in a tree" \
    -- -R -I @a "$pool/tree@b"
zfs release keep "$pool/tree@a"
fs vault -o encryption=aes-256-ccm -o keyformat=passphrase -o keylocation=file:///tmp/key
fs vault/inner
zfs snapshot -r "$pool/vault@a"
stream replicate-raw - vault@a "an encrypted tree" -- -Rw "$pool/vault@a"

# --- redacted
zfs clone -o canmount=noauto -o mountpoint=legacy "$pool/plain@b" "$pool/censored"
enter censored
text 10000 6 >"$mnt/noise"
leave
snap censored@x
zfs redact "$pool/plain@b" book "$pool/censored@x"
stream redacted - - "without the blocks that another snapshot changed" \
    -- --redact book "$pool/plain@b"

# --- interrupted, resumed, saved
head -c 30000 /out/compressed.zstream | zfs receive -su "$pool/partial" 2>/dev/null && exit 1
token=$(zfs get -Ho value receive_resume_token "$pool/partial")
stream resumed - - "the rest after an interruption" -- -t "$token"
echo "token $token" >>/out/resumed.info
stream saved - - "what an interrupted receive has got" -- -S "$pool/partial"
echo "token $token" >>/out/saved.info
zfs receive -A "$pool/partial"

# --- dnodes and system attributes
fs dnodes -o dnodesize=1k -o compression=off
enter dnodes
for n in 1 2 3; do echo "$n" >"$mnt/file$n"; done
leave
snap dnodes@a
stream large-dnodes - dnodes@a "dnodes of more than one slot" -- -L "$pool/dnodes@a"
fs spill -o compression=off
enter spill
# A symbolic link this long does not fit in the dnode.
ln -s "$(text 700 1 | tr '\n' -)" "$mnt/long"
ln -s "$(text 900 2 | tr '\n' -)" "$mnt/longer"
echo 1 >"$mnt/gone"
leave
snap spill@a
enter spill
rm "$mnt/gone"
touch -h "$mnt/long"
leave
snap spill@b
stream spill - spill@a "spill blocks" -- "$pool/spill@a"
stream spill-incremental spill spill@b "a spill block again" -- -i @a "$pool/spill@b"
fs folded -o casesensitivity=insensitive
enter folded
echo 1 >"$mnt/File"
leave
snap folded@a
stream case-insensitive - folded@a "a filesystem that folds case" -- "$pool/folded@a"

# --- what came with 2.2 and 2.3
if zpool get -Ho value feature@longname "$pool" | grep -q ed; then
    fs long -o longname=on
    enter long
    echo 1 >"$mnt/$(text 400 1 | tr '\n' -)"
    leave
    snap long@a
    stream longname - long@a "a file name of 400 bytes" -- "$pool/long@a"
fi
if zpool get -Ho value feature@large_microzap "$pool" 2>/dev/null | grep -q ed; then
    echo 1048576 >/sys/module/zfs/parameters/zap_micro_max_size
    fs microzap -o compression=off
    enter microzap
    mkdir "$mnt/dir"
    echo 1 >"$mnt/dir/f"
    n=0
    while [ "$n" -lt 2100 ]; do
        ln "$mnt/dir/f" "$mnt/dir/$n"
        n=$((n + 1))
    done
    leave
    snap microzap@a
    stream large-microzap - microzap@a "a folder in one large block" -- -L "$pool/microzap@a"
fi

# --- volumes
zfs create -V 1M -o volblocksize=8K -o compression=off "$pool/vol"
disk=$(device)
text 20000 1 | dd of="$disk" bs=4096 seek=2 conv=notrunc,fsync 2>/dev/null
snap vol@a
text 9000 9 | dd of="$disk" bs=4096 seek=5 conv=notrunc,fsync 2>/dev/null
snap vol@b
stream volume - vol@a "a volume" -- "$pool/vol@a"
stream volume-incremental volume vol@b "what changed in a volume" -- -i @a "$pool/vol@b"
zfs destroy -r "$pool/vol"
until [ ! -b /dev/zd0 ]; do sleep 0.1; done
zfs create -V 1M -o volblocksize=8K -o encryption=on -o keyformat=passphrase \
    -o keylocation=file:///tmp/key "$pool/secret-vol"
disk=$(device)
text 20000 1 | dd of="$disk" bs=4096 seek=2 conv=notrunc,fsync 2>/dev/null
snap secret-vol@a
stream raw-volume - secret-vol@a "an encrypted volume, as it is stored" \
    -- -w "$pool/secret-vol@a"

zpool destroy "$pool"
