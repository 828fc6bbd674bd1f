#!/usr/bin/env bash
# Installs the programs that the tests and benchmarks run against: Redis, Sentinel, redis-cli and redis-benchmark, twemproxy, HAProxy, Node.js, iproute2, PostgreSQL,
# MariaDB, pgbouncer, sysbench, nginx and its exporter, Prometheus, podman with runc, rsyslog, Java and its drivers of databases. With --with-protoc also the compiler that `make check` needs. Does nothing when they are all there. Needs Debian's apt-get, as root or with sudo; elsewhere it says what to install.
set -euo pipefail

# program:package, or a file's path in the place of the program
wanted=(
	redis-server:redis-server
	redis-sentinel:redis-sentinel
	redis-cli:redis-tools
	redis-benchmark:redis-tools
	nutcracker:nutcracker
	haproxy:haproxy
	node:nodejs
	npm:npm
	ip:iproute2
	postgres:postgresql
	mariadbd-safe:mariadb-server
	mariadb:mariadb-client
	pgbouncer:pgbouncer
	sysbench:sysbench
	nginx:nginx-light
	prometheus:prometheus
	promtool:prometheus
	prometheus-nginx-exporter:prometheus-nginx-exporter
	podman:podman
	conmon:conmon
	runc:runc
	catatonit:catatonit
	nsenter:util-linux
	wget:wget
	rsyslogd:rsyslog
	javac:default-jdk-headless
	/usr/share/java/mariadb-java-client.jar:libmariadb-java
	/usr/share/java/postgresql.jar:libpostgresql-jdbc-java
)
[[ ${1:-} == --with-protoc ]] && wanted+=("protoc:protobuf-compiler libprotobuf-dev")

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

missing_packages() {
	local entry dir
	for dir in /usr/lib/postgresql/*/bin; do # where Debian keeps what may be there in several versions
		PATH=$PATH:$dir
	done
	for entry in "${wanted[@]}"; do
		[[ $entry == /* && -e ${entry%%:*} ]] || command -v "${entry%%:*}" >/dev/null || echo "${entry#*:}"
	done | sort -u | tr '\n' ' '
}

read -r -a packages <<<"$(missing_packages)"
[[ ${#packages[@]} -eq 0 ]] && exit 0

as_root=()
[[ $(id -u) -eq 0 ]] || as_root=(sudo -n)
if ! command -v apt-get >/dev/null || { [[ ${#as_root[@]} -gt 0 ]] && ! "${as_root[@]}" true 2>/dev/null; }; then
	cat >&2 <<-EOF
		The tests run against real servers, and these are missing here (names of Debian's packages):
		    ${packages[*]}
		Please install them, redis-server 7.0 or newer, and run this again. twemproxy's program is called nutcracker.
	EOF
	exit 1
fi

# Debian starts what it installs. The tests start their own servers on their own ports: whoever installs a server for them should not end
# up with one on 6379. invoke-rc.d asks policy-rc.d; 101 means "not allowed". A policy that is already there is the machine's, and stays.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
	trap '"${as_root[@]}" rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
	"${as_root[@]}" chmod 755 "$policy"
fi

# The package postgresql makes a cluster besides, which nobody here needs.
cluster=/etc/postgresql-common/createcluster.d/no-main-cluster.conf
if [[ " ${packages[*]} " == *" postgresql "* && ! -e $cluster ]]; then
	"${as_root[@]}" mkdir -p "${cluster%/*}"
	echo 'create_main_cluster = false' | "${as_root[@]}" tee "$cluster" >/dev/null
fi

echo "installing ${packages[*]}"
log=$(mktemp)
if ! { "${as_root[@]}" apt-get update -q && "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${packages[@]}"; } >"$log" 2>&1; then
	tail -n 40 "$log" >&2
	exit 1
fi
rm -f "$log"

read -r -a packages <<<"$(missing_packages)"
if [[ ${#packages[@]} -gt 0 ]]; then
	echo "installed, yet still missing: ${packages[*]}" >&2
	exit 1
fi
