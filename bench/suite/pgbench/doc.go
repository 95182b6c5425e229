// Package pgbench measures real PostgreSQLs under pgbench and bulk loads: on Varve, with
// synchronous receivers, and alone.
package pgbench
