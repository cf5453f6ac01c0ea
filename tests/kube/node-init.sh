#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# node-init.sh FOLDER NAME CNI_BIN - the first process of a node, in namespaces of its own (mount, process ids, host name, IPC; the network was made before):
# gives it a machine's folders, starts containerd, kubelet and kube-proxy, and is the parent of whoever loses his. Called by cluster.py, which wrote FOLDER.
set -eu
folder=$1 name=$2 cni_bin=$3

mount --make-rprivate /
hostname "$name"

# A /sys that shows this network, with the machine's cgroups in it, and a bpffs that nobody else sees.
mkdir -p "$folder/cgroups"
mount --rbind /sys/fs/cgroup "$folder/cgroups"
mount -t sysfs sysfs /sys
mount --move "$folder/cgroups" /sys/fs/cgroup
mount -t bpf -o mode=0700 bpf /sys/fs/bpf

mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p /run/lock /run/netns
mkdir -p "$folder"/{kubelet,containerd,log/pods,log/containers}
mount --bind "$folder/log" /var/log
mount -t tmpfs -o mode=0755 tmpfs /var/lib
mkdir -p /var/lib/{kubelet,containerd,cni}
mount --bind "$folder/kubelet" /var/lib/kubelet
mount --bind "$folder/containerd" /var/lib/containerd
mount -t tmpfs -o mode=0755 tmpfs /opt
mkdir -p /opt/cni/bin
mount --bind "$cni_bin" /opt/cni/bin

# What kubelet would set for the whole machine goes into files instead.
mkdir /run/settings
shadow()
{
	echo "$2" > "/run/settings/${1//\//_}"
	mount --bind "/run/settings/${1//\//_}" "/proc/sys/$1"
}
shadow vm/overcommit_memory 1
shadow vm/panic_on_oom 0
shadow kernel/panic 10
shadow kernel/panic_on_oops 1
shadow kernel/keys/root_maxkeys 1000000
shadow kernel/keys/root_maxbytes 25000000
mount --make-rshared /

containerd -c "$folder/containerd.toml" > /var/log/containerd.log 2>&1 &
until ctr version > /dev/null 2>&1; do
	sleep 0.05
done
for image in "$folder"/images/*.tar; do
	ctr -n k8s.io images import "$image" > /var/log/import.log 2>&1 || { cat /var/log/import.log; exit 1; }
done
kubelet --kubeconfig="$folder/kubelet.kubeconfig" --config="$folder/kubelet.json" --container-runtime=remote \
	--container-runtime-endpoint=unix:///run/containerd/containerd.sock --hostname-override="$name" --node-ip="$(cat "$folder/address")" --v=2 \
	> /var/log/kubelet.log 2>&1 &
kube-proxy --config="$folder/kube-proxy.json" --v=1 > /var/log/kube-proxy.log 2>&1 &
while :; do
	wait -n || sleep 1
done
