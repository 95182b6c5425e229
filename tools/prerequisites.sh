#!/bin/sh
# Makes sure that the programs which the tests and the demo need are there:
# PostgreSQL 15 with its contrib programs, gcc for the race detector and for a library
# that a test loads into PostgreSQL (and the C library's headers, without which Go
# builds nothing where there is a gcc), Python's psycopg2 for the example client, a
# browser that looks at the simulator's pages.
# With the argument "bench" also peers of the benchmarks; whoever lacks these measures the
# rest, and the results name them as missing.
# Installs what is missing when it may.
set -eu

missing=
need() { # need PACKAGES TEST...
	packages=$1
	shift
	"$@" >/dev/null 2>&1 || missing="$missing $packages"
}
need postgresql-15 test -x "${VARVE_PG_BIN:-/usr/lib/postgresql/15/bin}/postgres"
need python3-psycopg2 /usr/bin/python3 -c 'import psycopg2'
need 'gcc libc6-dev' sh -c 'echo "#include <stdint.h>" | gcc -E -x c -'
need chromium command -v chromium
needed=$missing
if [ "${1-}" = bench ]; then
	need pgbackrest command -v pgbackrest
	need btrfs-progs command -v mkfs.btrfs
fi

[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	if [ -z "$needed" ]; then
		echo "prerequisites: not measured, for want of them:$missing" >&2
		exit 0
	fi
	echo "prerequisites: missing:$missing. Install them (Debian: apt-get install$missing), then run this again." >&2
	exit 1
fi
echo "prerequisites: installing$missing" >&2
# Without this, Debian's package makes and starts a cluster of its own.
mkdir -p /etc/postgresql-common
grep -qs '^create_main_cluster' /etc/postgresql-common/createcluster.conf ||
	echo 'create_main_cluster = false' >>/etc/postgresql-common/createcluster.conf
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq >&2
# shellcheck disable=SC2086 # a list of words is meant
apt-get install -qq -y --no-install-recommends $missing >&2
