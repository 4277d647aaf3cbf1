# First process of the virtual machine, in the host's file system: mounts what tests and the demo
# expect, runs the command, leaves its exit code, and switches the machine off.
. /run/kmesh-vm/settings.sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM
cd "$root" || exit 1

mkdir -p /dev/pts /dev/shm /run/lock "/lib/modules"
mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf -o mode=0700 bpf /sys/fs/bpf
ln -s /proc/self/fd /dev/fd
ln -s /proc/self/fd/0 /dev/stdin
ln -s /proc/self/fd/1 /dev/stdout
ln -s /proc/self/fd/2 /dev/stderr
# Where the kernel's own modprobe looks: veth, bridge and others are loaded when first used.
ln -sfn "$modules" "/lib/modules/$(uname -r)"
hostname kmesh-vm 2>/dev/null || echo kmesh-vm >/proc/sys/kernel/hostname
ip link set lo up
ulimit -n "$files_max"

read -r seconds _ </proc/uptime
echo "kernel $(uname -r) is up after ${seconds%.*} s"
if [ "$terminal" = yes ]; then
  # The host's terminal does the same, and a line must not be done twice.
  stty -onlcr rows "$rows" cols "$columns"
  setsid --ctty --wait /bin/sh /run/kmesh-vm/command.sh
  echo $? >/run/kmesh-vm/exit-code
else
  stty -onlcr -echo
  # Through a pipe: programs that see no terminal write plain lines.
  { /bin/sh /run/kmesh-vm/command.sh; echo $? >/run/kmesh-vm/exit-code; } </dev/null 2>&1 | cat
fi
sync
"$busybox" poweroff -f
