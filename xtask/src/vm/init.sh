#!/bin/busybox sh
# First process of the virtual machine, in its initramfs. The host's file system becomes the root,
# below a layer in memory: whatever the guest writes is gone with it, but for /run/kmesh-vm.
set -e
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
mount -t proc proc /proc
mount -t sysfs sys /sys
while read -r module; do insmod "/modules/$module"; done </modules/order

share() { mount -t 9p -o "trans=virtio,version=9p2000.L,msize=512000,$3" "$1" "$2"; }
cd /mnt
mkdir host layer root results
share host host ro,cache=loose
share results results cache=none
mount -t tmpfs -o mode=755 layer layer
mkdir layer/upper layer/work
options=redirect_dir=off,metacopy=off,xino=off
mount -t overlay -o "lowerdir=host,upperdir=layer/upper,workdir=layer/work,$options" root root

# The host's own /tmp and /run mean nothing here, but for folders that the run needs.
for place in tmp run; do
  mkdir "old-$place"
  mount --bind "root/$place" "old-$place"
  mount -t tmpfs -o mode=1777 "$place" "root/$place"
  while read -r folder; do
    case "$folder" in "/$place"/*)
      mkdir -p "root$folder"
      mount --bind "old-$place/${folder#/*/}" "root$folder" ;;
    esac
  done <results/folders
  umount "old-$place"
done
mkdir root/run/kmesh-vm
for place in proc sys dev; do mount --move "/$place" "root/$place"; done
mount --move results root/run/kmesh-vm
exec switch_root -c /dev/hvc0 root /bin/sh /run/kmesh-vm/guest.sh
