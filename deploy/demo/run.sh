#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# run.sh [--keep] [--no-build DIR] - two nodes, their pods, real traffic, and a capture of the wire, in one screenful.
#
#   --keep          leaves everything running and says what to try; Enter or Ctrl-C takes it out
#   --no-build DIR  uses the programs of a build folder
#
# Everything lives in network namespaces of its own and is taken out on every way out. Ends with 1 where a claim does not hold.
set -u -o pipefail

ROOT=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
BIN=$ROOT/build/release
KEEP=
BUILD=yes
while [ $# -gt 0 ]; do
	case $1 in
	--keep) KEEP=yes ;;
	--no-build)
		[ $# -ge 2 ] || { echo "run.sh: --no-build needs a build folder" >&2; exit 2; }
		BIN=$2
		BUILD=
		shift
		;;
	-h | --help)
		sed -n '3,8s/^# \{0,1\}//p' "$0"
		exit 0
		;;
	*)
		echo "run.sh: unknown argument \"$1\"; --keep and --no-build DIR are known" >&2
		exit 2
		;;
	esac
	shift
done

if [ -n "$BUILD" ]; then
	"$ROOT/deploy/deps.sh" build demo || exit 1
	log=$(mktemp)
	if ! { cmake -S "$ROOT" --preset release && cmake --build "$BIN" --target culvertd culvertctl; } > "$log" 2>&1; then
		tail -n 30 "$log" >&2
		echo "run.sh: the build failed (the end of its log is above)" >&2
		rm -f "$log"
		exit 1
	fi
	rm -f "$log"
else
	"$ROOT/deploy/deps.sh" demo || exit 1
fi
for program in culvertd culvertctl; do
	[ -x "$BIN/$program" ] || { echo "run.sh: there is no $program in $BIN" >&2; exit 1; }
done

ID=cvd$$
TMP=$(mktemp -d) || exit 1
TEXT="the page's text, which nobody on the wire may read"
PIDS=()          # everything that was started here
SPACES=()        # network namespaces
FAILED=0
BOLD= GOOD= BAD= PLAIN=
if [ -t 1 ]; then
	BOLD=$'\e[1m' GOOD=$'\e[32m' BAD=$'\e[31m' PLAIN=$'\e[0m'
fi

title() { echo "$BOLD$*$PLAIN"; }

# claim TEXT COMMAND...: says whether it holds
claim()
{
	local text=$1

	shift
	if "$@" > /dev/null 2>&1; then
		echo "  ${GOOD}ok$PLAIN     $text"
	else
		echo "  ${BAD}FAILED$PLAIN $text"
		FAILED=1
	fi
}

inside() { nsenter --net="/run/netns/$ID-$1" "${@:2}"; }
on() { ip -n "$ID-$1" "${@:2}"; }

start() # start PLACE LOG COMMAND...: in the background; its process id goes to LAST
{
	nsenter --net="/run/netns/$ID-$1" "${@:3}" < /dev/null > "$TMP/$2" 2>&1 &
	LAST=$!
	PIDS+=("$LAST")
}

end() # end PID: and wait, a little
{
	local i

	kill "$1" 2> /dev/null || return 0
	for i in $(seq 100); do
		kill -0 "$1" 2> /dev/null || return 0
		sleep 0.05
	done
	kill -9 "$1" 2> /dev/null
	return 0
}

remove_daemons()
{
	local n

	for n in node1 node2; do
		[ -f "$TMP/$n.pid" ] && end "$(cat "$TMP/$n.pid")" && rm -f "$TMP/$n.pid"
		[ -f "$TMP/$n.yaml" ] && inside "$n" "$BIN/culvertd" --config "$TMP/$n.yaml" --remove 2>> "$TMP/remove.log"
	done
	return 0
}

cleanup()
{
	trap '' INT TERM PIPE # whoever read the output may be gone already
	local p s

	remove_daemons 2> /dev/null
	for p in "${PIDS[@]}"; do end "$p"; done
	for s in "${SPACES[@]}"; do ip netns del "$s" 2> /dev/null; done
	rm -rf "$TMP"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- two nodes, a third host, their pods, and the wire between them ---

space()
{
	ip netns add "$ID-$1" || exit 1
	SPACES+=("$ID-$1")
	on "$1" link set lo up
	inside "$1" sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
}

host() # host NAME NUMBER POD: one that forwards, with one pod behind a veth and /32 and /128 routes, as Calico does it
{
	local name=$1 n=$2 pod=$3

	space "$name"
	space "$pod"
	on wire link add "p$n" type veth peer name eth0 netns "$ID-$name"
	on wire link set "p$n" master lan up
	on "$name" addr add "172.30.0.$n/24" dev eth0
	on "$name" addr add "fd30::$n/64" dev eth0 nodad
	on "$name" link set eth0 up
	inside "$name" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	on "$name" link add cali0 type veth peer name eth0 netns "$ID-$pod"
	on "$name" addr add 169.254.1.1/32 dev cali0
	on "$name" addr add fe80::1/64 dev cali0 nodad
	on "$name" link set cali0 up
	on "$name" route add "10.245.$n.10" dev cali0
	on "$name" -6 route add "fd45:$n::10" dev cali0
	on "$pod" addr add "10.245.$n.10/32" dev eth0
	on "$pod" addr add "fd45:$n::10/128" dev eth0 nodad
	on "$pod" link set eth0 up
	on "$pod" route add 169.254.1.1 dev eth0
	on "$pod" route add default via 169.254.1.1
	on "$pod" -6 route add default via fe80::1 dev eth0
}

title "Two nodes, a third host that is not enrolled, and a pod on each"
space wire
on wire link add lan type bridge mcast_snooping 0
on wire link set lan up
host node1 1 client
host node2 2 server
host other 3 stranger
for from in "node1 1" "node2 2" "other 3"; do
	for n in 1 2 3; do
		[ "${from#* }" = $n ] && continue
		on "${from% *}" route add "10.245.$n.0/24" via "172.30.0.$n"
		on "${from% *}" -6 route add "fd45:$n::/64" via "fd30::$n"
	done
done
# A Service, as kube-proxy makes it: DNAT on the client's node.
inside node1 nft -f - << 'NFT'
table inet services {
	chain prerouting {
		type nat hook prerouting priority -100;
		ip daddr 10.96.0.10 tcp dport 80 dnat ip to 10.245.2.10:8080
		ip6 daddr fd96::10 tcp dport 80 dnat ip6 to [fd45:2::10]:8080
	}
}
NFT

# --- certificates, the nodes file, one daemon a node ---

[ "$(stat -f -c %T /sys/fs/bpf)" = bpf_fs ] || mount -t bpf bpf /sys/fs/bpf || exit 1
"$BIN/culvertctl" ca init "$TMP/ca" > "$TMP/ca.log" && "$BIN/culvertctl" ca issue "$TMP/ca" node1 node2 >> "$TMP/ca.log" || { cat "$TMP/ca.log"; exit 1; }
cat > "$TMP/nodes.yaml" << 'YAML'
nodes:
- name: node1
  addresses: [172.30.0.1, "fd30::1"]
  pods: [10.245.1.0/24, "fd45:1::/64"]
- name: node2
  addresses: [172.30.0.2, "fd30::2"]
  pods: [10.245.2.0/24, "fd45:2::/64"]
YAML
for n in node1 node2; do
	cat > "$TMP/$n.yaml" << YAML
node: $n
runtime_directory: /run/$ID-$n
identity:
  directory: $TMP/ca/$n
nodes:
  file: $TMP/nodes.yaml
YAML
	start "$n" "$n.log" "$BIN/culvertd" --config "$TMP/$n.yaml"
	echo "$LAST" > "$TMP/$n.pid"
done
ctl() { "$BIN/culvertctl" --socket "/run/$ID-$1/status.sock" "${@:2}"; }
for n in node1 node2; do
	for i in $(seq 100); do
		ctl "$n" check > /dev/null 2>&1 && break
		kill -0 "$(cat "$TMP/$n.pid")" 2> /dev/null || break
		sleep 0.05
	done
	claim "culvertd is ready on $n" ctl "$n" check
done

# --- an unmodified nginx in node2's pod ---

mkdir "$TMP/www" "$TMP/nginx"
chmod 755 "$TMP" "$TMP/www"
echo "$TEXT" > "$TMP/www/index.html"
cat > "$TMP/nginx.conf" << CONF
daemon off;
pid $TMP/nginx/pid;
error_log $TMP/nginx/error.log;
events { }
http {
	log_format who '\$remote_addr \$remote_port';
	access_log $TMP/access.log who;
	client_body_temp_path $TMP/nginx; proxy_temp_path $TMP/nginx; fastcgi_temp_path $TMP/nginx; uwsgi_temp_path $TMP/nginx; scgi_temp_path $TMP/nginx;
	server { listen 8080; listen [::]:8080; root $TMP/www; }
}
CONF
start server nginx.log nginx -e "$TMP/nginx/error.log" -c "$TMP/nginx.conf"
start server iperf.log iperf3 -s
for i in $(seq 100); do
	inside server curl -s -o /dev/null http://127.0.0.1:8080/ && break
	sleep 0.05
done

capture_begin() # capture_begin NAME: returns when it really captures
{
	local i

	start node1 "$1.tcpdump" tcpdump -i eth0 -w "$TMP/$1.pcap" --immediate-mode -U
	CAPTURE=$LAST
	for i in $(seq 100); do
		grep -q "listening on" "$TMP/$1.tcpdump" && return 0
		sleep 0.05
	done
	return 1
}
packets() { tcpdump -nr "$TMP/$1.pcap" "$2" 2> /dev/null | wc -l; }
POD_TO_POD="tcp and ((src net 10.245.0.0/16 and dst net 10.245.0.0/16) or (src net fd45::/16 and dst net fd45::/16))"

fetch() # fetch PLACE URL: the page, and the client's port on standard error
{
	inside "$1" curl -sg --max-time 10 -w '%{stderr}%{local_port}' "$2"
}

# fetched HOW URL ADDRESS: fetches, and looks whether nginx saw the pod's own address and port
fetched()
{
	local page port

	page=$(fetch client "$2" 2> "$TMP/port")
	port=$(cat "$TMP/port")
	claim "curl in node1's pod fetches the page by $1; nginx saw $3 port $port" \
		bash -c '[ "$1" = "$2" ] && for i in $(seq 40); do grep -qx "$3 $4" "$5" && exit 0; sleep 0.05; done; exit 1' \
		- "$page" "$TEXT" "$3" "$port" "$TMP/access.log"
}

title "A page through Culvert"
capture_begin tunnel
fetched "pod address, IPv4" "http://10.245.2.10:8080/" 10.245.1.10
fetched "pod address, IPv6" "http://[fd45:2::10]:8080/" fd45:1::10
fetched "Service, IPv4" "http://10.96.0.10/" 10.245.1.10
fetched "Service, IPv6" "http://[fd96::10]/" fd45:1::10
sleep 0.3
end "$CAPTURE"
tunnel=$(packets tunnel "tcp port 7117")
clear=$(packets tunnel "$POD_TO_POD")
claim "on the wire meanwhile: $tunnel packets of the tunnel, $clear of pod-to-pod TCP, the page's text $(grep -ac "$TEXT" "$TMP/tunnel.pcap") times" \
	bash -c '[ "$1" -gt 0 ] && [ "$2" -eq 0 ] && ! grep -aq "$3" "$4"' - "$tunnel" "$clear" "$TEXT" "$TMP/tunnel.pcap"
claim "a pod of the third host, which is not enrolled, is served as before" bash -c '[ "$1" = "$2" ]' - "$(fetch stranger http://10.245.2.10:8080/ 2> /dev/null)" "$TEXT"

gbits() { inside client iperf3 -c 10.245.2.10 -t 2 -J 2> /dev/null | awk -F'[:,]' '/"sum_received"/ { on = 1 } on && /bits_per_second/ { printf "%.1f", $2 / 1e9; exit }'; }
through=$(gbits)

title "culvertctl status and peers, on node1"
ctl node1 status
ctl node1 peers

if [ -n "$KEEP" ]; then
	title "Everything keeps running. To try:"
	cat << TRY
  nsenter --net=/run/netns/$ID-client curl http://10.96.0.10/       a page through the tunnel
  nsenter --net=/run/netns/$ID-node1 tcpdump -ni eth0               the wire
  $BIN/culvertctl --socket /run/$ID-node1/status.sock top
  kill -9 $(cat "$TMP/node2.pid")                                   node2's daemon; then curl: nothing passes in the clear
  $TMP                                                              configuration, certificates, logs
Enter takes everything out.
TRY
	read -r _ || {
		sleep infinity & # without a terminal; wait, unlike a program in the foreground, is interrupted by a signal at once
		PIDS+=($!)
		wait $!
	}
fi

title "The same without Culvert"
remove_daemons
capture_begin plain
claim "the page is fetched" bash -c '[ "$1" = "$2" ]' - "$(fetch client http://10.245.2.10:8080/ 2> /dev/null)" "$TEXT"
sleep 0.3
end "$CAPTURE"
claim "and now the capture has $(packets plain "$POD_TO_POD") packets of pod-to-pod TCP and the page's text $(grep -ac "$TEXT" "$TMP/plain.pcap") times" \
	grep -aq "$TEXT" "$TMP/plain.pcap"
claim "nothing of Culvert is left on the nodes" bash -c '! ip -n "$1-node1" link show culvert0 && ! ls /sys/fs/bpf/"$1"-node1' - "$ID"
echo "  one stream, iperf3, 2 s: $(gbits) Gbit/s plain, $through Gbit/s through Culvert (both nodes share this machine's $(nproc) cores)"
exit $FAILED
