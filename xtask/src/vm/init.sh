#!/bin/busybox sh
# The guest's first process. Finds the host's root over 9p, puts memory over it so that
# everything can be written and nothing reaches the host, and goes on there with guest.sh.

/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev

give_up() {
    echo "error: $1" >/dev/ttyS2
    poweroff -f
}

. /settings

for module in /modules/*; do
    insmod "$module" || give_up "$module cannot be loaded"
done
mkdir /host /memory /new
# Nothing changes on the host while the guest looks at it, so everything may be cached.
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro host /host ||
    give_up "the host's root cannot be mounted"
mount -t tmpfs memory /memory
mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work root /new ||
    give_up "memory cannot be put over the host's root"
for directory in proc sys dev; do
    mkdir -p "/new/$directory"
    mount --move "/$directory" "/new/$directory"
done
# Sockets and process numbers of the host's services mean nothing here.
mkdir -p /new/run
mount -t tmpfs run /new/run
mkdir /new/run/guest
cp /bin/busybox /settings /guest.sh /tests.sh /new/run/guest
mkdir -p "/new/lib/modules/$release"
mount --bind "/host$modules" "/new/lib/modules/$release" ||
    give_up "the kernel's modules are not where they were on the host"
exec switch_root /new /bin/sh /run/guest/guest.sh
