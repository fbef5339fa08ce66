# Runs tests.sh on the host's root, tells by the third serial port how it ended, and ends the guest.

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root

finish() {
    echo "$1" >/dev/ttyS2
    /run/guest/busybox poweroff -f
}

. /run/guest/settings

# Lest it run on should nobody be there any more who ends it.
(sleep "$limit" && finish "error: not done after $limit s") &

mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t bpf bpf /sys/fs/bpf
ln -s /proc/self/fd /dev/fd
for stream in stdin:0 stdout:1 stderr:2; do
    ln -s "/proc/self/fd/${stream#*:}" "/dev/${stream%:*}"
done
# Whatever else is needed, the kernel loads when it is asked for it; these have to be there
# before somebody opens their device.
modprobe -a tun ppp_generic || finish "error: tun and ppp_generic cannot be loaded"

# The test's own line ends are enough.
stty -F /dev/ttyS1 raw 115200
sh /run/guest/tests.sh >/dev/ttyS1 2>&1 </dev/null
finish "exit $?"
