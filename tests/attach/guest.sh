# Runs in the guest, in a file system in memory. See crates/guest-kit/src/root.rs for `step`.

step make "qimg create -q -f qcow2 disk.qcow2 64M && qimg create -q -f raw other.raw 32M"
step none "qnbd --devices"
step none-json "qnbd --devices --json"

# Attaching, partitions, a file system, mounts.
step attach "qnbd -c /dev/nbd0 -f qcow2 disk.qcow2"
step size "blockdev --getsize64 /dev/nbd0; blockdev --getss /dev/nbd0; cat /sys/block/nbd0/ro"
step partition "printf 'n\np\n1\n2048\n65535\nn\np\n2\n65536\n131071\nw\n' | fdisk -u /dev/nbd0 >/dev/null; ls /dev/nbd0p*"
step mkfs "mkfs.ext4 -q -F /dev/nbd0p1 && mkfs.ext4 -q -F /dev/nbd0p2"
step mount "mkdir -p /mnt/a && mount -t ext4 /dev/nbd0p1 /mnt/a"
step write "dd if=/dev/urandom of=/mnt/a/file bs=64k count=100 2>/dev/null && mkdir /mnt/a/dir && echo words >/mnt/a/dir/name && sync"
sha256sum </mnt/a/file >file.sum
step devices "qnbd --devices"
step devices-json "qnbd --devices --json"
step busy "qnbd -c /dev/nbd0 -f raw other.raw"
step held "qnbd -d /dev/nbd0"
step still "sha256sum </mnt/a/file | cmp - file.sum && umount /mnt/a"

# The table is read when a disk that has one is attached.
step detach "qnbd -d /dev/nbd0"
step free "cat /sys/block/nbd0/size; ls /dev/nbd0p* 2>/dev/null; qnbd --devices; ps | grep '[q]nbd'; true"
step check "qimg check disk.qcow2"
step again "qnbd -c /dev/nbd0 -f qcow2 disk.qcow2 && ls /dev/nbd0p1 /dev/nbd0p2 && mount -t ext4 /dev/nbd0p1 /mnt/a && sha256sum </mnt/a/file | cmp - file.sum && cat /mnt/a/dir/name"
step trim "du -k disk.qcow2 | cut -f1; rm /mnt/a/file && sync && umount /mnt/a"
step detach-again "qnbd -d /dev/nbd0"

# Discards reach the file.
step unmap "qnbd --discard=unmap -c /dev/nbd0 -f qcow2 disk.qcow2 && mount -t ext4 /dev/nbd0p1 /mnt/a && fstrim /mnt/a && umount /mnt/a && qnbd -d /dev/nbd0"
step after-trim "du -k disk.qcow2 | cut -f1; qimg check disk.qcow2"

# Reading only.
step read-only "qnbd -r -c /dev/nbd1 -f qcow2 disk.qcow2 && cat /sys/block/nbd1/ro"
step no-write "dd if=/dev/zero of=/dev/nbd1 bs=4k count=1"
step mount-ro "mount -t ext4 -o ro /dev/nbd1p1 /mnt/a && cat /mnt/a/dir/name && umount /mnt/a"
step devices-ro "qnbd --devices --json"
step detach-ro "qnbd -d /dev/nbd1"

# A changed overlay that is thrown away.
step snapshot "qnbd -s -c /dev/nbd1 -f qcow2 disk.qcow2 && mount -t ext4 /dev/nbd1p1 /mnt/a && rm -r /mnt/a/dir && umount /mnt/a && qnbd -d /dev/nbd1"
step unchanged "qnbd -r -c /dev/nbd1 -f qcow2 disk.qcow2 && mount -t ext4 -o ro /dev/nbd1p1 /mnt/a && cat /mnt/a/dir/name && umount /mnt/a && qnbd -d /dev/nbd1"

# The kernel chooses; several at a time choose different ones.
step auto "qnbd -c auto -f raw other.raw"
step auto-more "for n in 1 2; do qimg create -q -f raw more\$n.raw 8M; qnbd -c auto -f raw more\$n.raw & done; wait"
step all "qnbd --devices --json"
step auto-detach "for n in 0 1 2; do qnbd -d /dev/nbd\$n; done"

step auto-new "for n in 0 1 2 3 4; do qnbd -r -t -e 0 -c auto -f raw more1.raw; done; for n in 4 3 2 1 0; do qnbd -d /dev/nbd\$n; done"

# Other clients beside the kernel.
step beside "qnbd -e 2 -c /dev/nbd1 -f raw other.raw && qnbd -L -k /var/lock/qemu-nbd-nbd1 && qnbd -d /dev/nbd1"

# A disk on a disk, past the page cache.
step nested "qnbd -c /dev/nbd0 -f qcow2 disk.qcow2 && mount -t ext4 /dev/nbd0p1 /mnt/a && qimg create -q -f qcow2 -o cluster_size=4k /mnt/a/inner.qcow2 16M && qnbd -n --aio=native -c /dev/nbd1 -f qcow2 /mnt/a/inner.qcow2 && mkfs.ext4 -q -F /dev/nbd1 && mkdir -p /mnt/b && mount -t ext4 /dev/nbd1 /mnt/b && echo inside >/mnt/b/name && umount /mnt/b && qnbd -d /dev/nbd1 && qimg check /mnt/a/inner.qcow2 && umount /mnt/a && qnbd -d /dev/nbd0"

# A mount that only another namespace sees.
step hide "qnbd -c /dev/nbd0 -f qcow2 disk.qcow2; unshare -m --propagation private sh -c 'mount -t ext4 /dev/nbd0p1 /mnt/a; touch /tmp/hidden; sleep 3' & while [ ! -e /tmp/hidden ]; do sleep 0.1; done; qnbd -d /dev/nbd0; code=\$?; wait; qnbd -d /dev/nbd0; exit \$code"

# Stays in front with -v; a signal detaches it.
qnbd -v -c /dev/nbd0 -f raw other.raw >front.log 2>&1 &
front=$!
for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do [ -s front.log ] && break; sleep 0.5; done
step write-front "dd if=/dev/urandom of=/dev/nbd0 bs=64k count=16 2>/dev/null; sha256sum /dev/nbd0 | cut -d' ' -f1"
kill -TERM $front
step front "wait $front; cat front.log; qnbd --devices; sha256sum other.raw | cut -d' ' -f1"

# Without netlink (it is not there in another network namespace): ioctl.
step ioctl "unshare -n qnbd -c /dev/nbd2 -f qcow2 disk.qcow2 && mount -t ext4 /dev/nbd2p1 /mnt/a && cat /mnt/a/dir/name"
step ioctl-devices "qnbd --devices"
step ioctl-held "unshare -n qnbd -d /dev/nbd2"
step ioctl-detach "umount /mnt/a && unshare -n qnbd -d /dev/nbd2; qnbd --devices"
step ioctl-ro "unshare -n qnbd -r -c /dev/nbd2 -f qcow2 disk.qcow2 && cat /sys/block/nbd2/ro && ! dd if=/dev/zero of=/dev/nbd2 bs=4k count=1 2>/dev/null && qnbd -d /dev/nbd2"

# Another name of a device.
mknod /tmp/alias b $(tr : ' ' </sys/block/nbd3/dev)
step alias "qnbd -c /tmp/alias -f qcow2 disk.qcow2 && cat /sys/block/nbd3/pid >/dev/null && qnbd -d /tmp/alias; qnbd --devices"

# A server that is killed leaves a device behind.
step stale "qnbd -c /dev/nbd0 -f qcow2 disk.qcow2 && qnbd -c /dev/nbd1 -f raw other.raw && kill -9 \$(cat /sys/block/nbd0/pid) && sleep 0.5 && qnbd --devices"
step cleanup "qnbd --cleanup; qnbd --devices"
step cleanup-none "qnbd --cleanup"
step reuse "qnbd -c /dev/nbd0 -f qcow2 disk.qcow2 && mount -t ext4 /dev/nbd0p1 /mnt/a && cat /mnt/a/dir/name"
step stale-held "kill -9 \$(cat /sys/block/nbd0/pid) && sleep 0.5 && qnbd --cleanup"
step stale-freed "umount /mnt/a; qnbd --cleanup; qnbd -d /dev/nbd1; qnbd --devices"
step stale-check "qimg check disk.qcow2"

# Killed while it writes: what was flushed is there, and the image is whole.
step killed "qnbd -c /dev/nbd0 -f qcow2 disk.qcow2 && dd if=/dev/urandom of=kept bs=64k count=32 2>/dev/null && dd if=kept of=/dev/nbd0p2 bs=64k conv=fsync 2>/dev/null; ( dd if=/dev/urandom of=/dev/nbd0p2 bs=64k seek=40 count=400 oflag=direct 2>/dev/null & ) ; sleep 0.3; kill -9 \$(cat /sys/block/nbd0/pid); sleep 0.5; qnbd --cleanup"
step killed-check "qimg check disk.qcow2; qnbd -r -c /dev/nbd0 -f qcow2 disk.qcow2 && dd if=/dev/nbd0p2 bs=64k count=32 2>/dev/null | cmp - kept && qnbd -d /dev/nbd0"

# Beside the reference, where it is there.
if [ -x /bin/qemu-nbd ]; then
  step theirs "qemu-nbd -c /dev/nbd1 -f qcow2 disk.qcow2; sleep 1; qnbd --devices"
  step theirs-detach "qnbd -d /dev/nbd1; qnbd --devices"
  step ours-by-theirs "qnbd -c /dev/nbd1 -f qcow2 disk.qcow2; qemu-nbd -d /dev/nbd1; sleep 1; qnbd --devices"
fi

# No such device, no module.
step absent "qnbd -c /dev/nbd77 -f raw other.raw"
step not-attached "qnbd -d /dev/nbd0"
rmmod nbd
step no-module "qnbd -c auto -f raw other.raw"
