#!/bin/bash
# Counts every instruction of a request, those of the kernel too, on machines that have no performance counters: the servers run in an
# emulated machine of one processor, whose clock goes on by a nanosecond for each instruction. So what the scheduler has counted in
# nanoseconds for a thread is what it has executed.
#
#     bash bench/emulated/run.sh [server...]          those of bench/servers/hello; hyperpull and uws, if none is named. Five minutes
#
# Needs Debian's qemu-system-x86, busybox-static and cpio, wrk for the load, and apt-get to download a kernel, which is not installed.
set -euo pipefail
cd "$(dirname "$0")/../.."
npm install --prefix bench --ignore-scripts --no-audit --no-fund --silent

work=$(mktemp -d)
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT
kernel=$(apt-cache depends linux-image-amd64 | awk '/Depends/ { print $2; exit }')
(cd "$work" && apt-get -o APT::Sandbox::User=root download -qq "$kernel" && dpkg -x ./*.deb kernel)

# The first file system: busybox, the modules to reach the host's files with, and what begins.
modules="virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci netfs fscache 9pnet 9pnet_virtio 9p"
mkdir -p "$work"/first/{bin,dev,host,modules,proc,sys}
cp "$(command -v busybox)" "$work/first/bin/"
for module in $modules; do find "$work/kernel/lib/modules" -name "$module.ko" -exec cp {} "$work/first/modules/" \; ; done
cat > "$work/first/init" <<INIT
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in $modules; do insmod /modules/\$module.ko; done
mount -t 9p -o trans=virtio,version=9p2000.L,cache=loose,ro,msize=262144 host /host
mount -t proc proc /host/proc; mount -t sysfs sys /host/sys; mount --bind /dev /host/dev
mkdir -p /dev/shm; mount -t tmpfs shm /host/dev/shm; mount -t tmpfs run /host/run
ip link set lo up
chroot /host /bin/bash "$PWD/bench/emulated/guest.sh" ${*:-hyperpull uws}
poweroff -f
INIT
chmod +x "$work/first/init"
(cd "$work/first" && find . | cpio --quiet -o -H newc) > "$work/first.cpio"

qemu-system-x86_64 -machine q35,accel=tcg -cpu max -smp 1 -m 4G -icount shift=0,sleep=on -nographic -nic none -no-reboot \
  -kernel "$work"/kernel/boot/vmlinuz-* -initrd "$work/first.cpio" -append 'console=ttyS0 quiet panic=-1 mitigations=off' \
  -virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap < /dev/null | tr -d '\r' | grep -ao '|.*|'
