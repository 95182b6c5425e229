package pgdata

import (
	"fmt"
	"path"

	"github.com/varvedb/varve/wal/pgwal"
)

const (
	defaultTablespace = 1663 // pg_default
	globalTablespace  = 1664 // pg_global

	// tablespaceVersionDir is the directory that PostgreSQL makes in a tablespace for
	// its major version and catalog version.
	tablespaceVersionDir = "PG_15_202209061"

	// segmentBlocks is how many blocks of a fork one file holds: 1 GiB.
	segmentBlocks = 1 << 30 / pgwal.PageSize
)

// directories must exist below a data directory. PostgreSQL makes them in initdb
// only; without some of them not the start but the first checkpoint fails.
var directories = []string{
	"base", "global", "pg_commit_ts", "pg_dynshmem", "pg_logical", "pg_logical/mappings",
	"pg_logical/snapshots", "pg_multixact", "pg_multixact/members", "pg_multixact/offsets",
	"pg_notify", "pg_replslot", "pg_serial", "pg_snapshots", "pg_stat", "pg_stat_tmp",
	"pg_subtrans", "pg_tblspc", "pg_twophase", "pg_wal", "pg_wal/archive_status", "pg_xact",
}

// databaseDir is the directory of a database's relations in a tablespace, relative
// to the data directory.
func databaseDir(spc, db uint32) string {
	switch spc {
	case globalTablespace:
		return "global"
	case defaultTablespace:
		return path.Join("base", fmt.Sprint(db))
	}
	return path.Join(tablespaceLink(spc), tablespaceVersionDir, fmt.Sprint(db))
}

func tablespaceLink(spc uint32) string { return path.Join("pg_tblspc", fmt.Sprint(spc)) }

// RelationPath is the file of one segment of a fork, relative to the data directory.
func RelationPath(rel pgwal.RelFileNode, fork pgwal.Fork, segment uint32) string {
	name := fmt.Sprint(rel.Rel)
	if fork != pgwal.MainFork {
		name += "_" + fork.String()
	}
	if segment > 0 {
		name += fmt.Sprintf(".%d", segment)
	}
	return path.Join(databaseDir(rel.Spc, rel.DB), name)
}
