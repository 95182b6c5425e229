#!/bin/sh
# Makes layermap.svg: the layers of a branch after bulk updates and TPC-B of pgbench, with branches and a lease made on
# the way. It takes some minutes; `make layermap` runs it. Another run gives a picture that differs in details.
set -eu
varve=$(pwd)/bin/varve
VARVE_DIR=$(mktemp -d)
export VARVE_DIR
chmod 755 "$VARVE_DIR" # Postgres's user must be able to enter it
trap '"$varve" down 2>/dev/null || true; rm -rf "$VARVE_DIR"' EXIT

up() {
	"$varve" up --safekeepers 1 --history "$1" >/dev/null
	url=$("$varve" connection-string main)
}
bulk() { psql "$url" -qc "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE $1"; }
tpcb() { pgbench -n -c 8 -T "$1" "$url" >/dev/null; }
round() {
	bulk 'aid % 4 = 1'
	bulk 'aid BETWEEN 300000 AND 800000'
	psql "$url" -qc 'VACUUM pgbench_accounts'
	bulk 'aid % 4 = 2'
	bulk 'aid < 500000'
	tpcb 5
}

up 1s # so that 64 MiB of log are kept, and the rest is collected
pgbench -q -i -s 10 "$url"
"$varve" branch create monday
round
"$varve" branch create tuesday
round
"$varve" lease create main --for 30d
"$varve" branch create wednesday
round
"$varve" down
up 7d
round
"$varve" branch create thursday
round
round
main=$("$varve" branch list | awk '$1 == "main" { print $NF }')
"$varve" down
"$varve" inspect map "$VARVE_DIR"/bucket/tenants/*/timelines/root/"$main"/index >docs/figures/layermap.svg
