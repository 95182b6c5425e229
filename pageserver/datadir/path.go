package datadir

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/varvedb/varve/wal/pgwal"
)

// The tablespaces that every cluster has, and numbers that are in its paths.
const (
	DefaultTablespace = 1663 // below base
	GlobalTablespace  = 1664 // global: relations that all databases share
	CatalogVersion    = 202209061

	// SegmentBlocks is the number of blocks in one segment file of a fork.
	SegmentBlocks = 131072

	// MajorVersion is the content of a PG_VERSION file.
	MajorVersion = "15\n"
)

// TablespaceDir is the directory of a tablespace that is neither of the built-in
// two, without a slash at its end.
func TablespaceDir(spc uint32) string {
	return fmt.Sprintf("pg_tblspc/%d/PG_15_%d", spc, CatalogVersion)
}

// DatabaseDir is the directory of a database's files in a tablespace. The shared
// relations count as database 0 of [GlobalTablespace].
func DatabaseDir(spc, db uint32) string {
	switch spc {
	case DefaultTablespace:
		return fmt.Sprintf("base/%d", db)
	case GlobalTablespace:
		return "global"
	}
	return fmt.Sprintf("%s/%d", TablespaceDir(spc), db)
}

// ForkPath is the path of a fork's first segment.
func ForkPath(rel pgwal.RelFileNode, fork pgwal.Fork) string { return SegmentPath(rel, fork, 0) }

// SegmentPath is the path of a fork's segment, counted from 0.
func SegmentPath(rel pgwal.RelFileNode, fork pgwal.Fork, segment uint32) string {
	name := strconv.FormatUint(uint64(rel.Rel), 10)
	if fork != pgwal.MainFork {
		name += "_" + fork.String()
	}
	if segment != 0 {
		name += "." + strconv.FormatUint(uint64(segment), 10)
	}
	return DatabaseDir(rel.Spc, rel.DB) + "/" + name
}

// ParseForkPath reads the path of a fork's segment, such as base/5/16384_vm.1.
func ParseForkPath(p string) (rel pgwal.RelFileNode, fork pgwal.Fork, segment uint32, err error) {
	dir, name := path.Split(p)
	spc, db, ok := parseDatabaseDir(strings.TrimSuffix(dir, "/"))
	if ok {
		rel.Rel, fork, segment, ok = parseForkName(name)
	}
	if !ok {
		return pgwal.RelFileNode{}, 0, 0, fmt.Errorf("parse path %q: want a relation's file as PostgreSQL names it, such as base/5/16384 or global/1262_vm", p)
	}
	rel.Spc, rel.DB = spc, db
	return rel, fork, segment, nil
}

func parseDatabaseDir(dir string) (spc, db uint32, ok bool) {
	parts := strings.Split(dir, "/")
	switch {
	case dir == "global":
		return GlobalTablespace, 0, true
	case len(parts) == 2 && parts[0] == "base":
		db, ok = parseOID(parts[1])
		return DefaultTablespace, db, ok
	case len(parts) == 4 && parts[0] == "pg_tblspc":
		spc, okSpc := parseOID(parts[1])
		db, okDB := parseOID(parts[3])
		return spc, db, okSpc && okDB && dir == DatabaseDir(spc, db)
	}
	return 0, 0, false
}

// parseForkName reads a file name such as 16384, 16384_vm or 16384_init.1.
func parseForkName(name string) (rel uint32, fork pgwal.Fork, segment uint32, ok bool) {
	base, suffix, segmented := strings.Cut(name, ".")
	if segmented {
		if segment, ok = parseOID(suffix); !ok {
			return 0, 0, 0, false
		}
	}
	number, forkName, forked := strings.Cut(base, "_")
	if forked {
		if fork, ok = parseFork(forkName); !ok {
			return 0, 0, 0, false
		}
	}
	rel, ok = parseOID(number)
	return rel, fork, segment, ok
}

func parseFork(name string) (pgwal.Fork, bool) {
	for _, fork := range []pgwal.Fork{pgwal.FSMFork, pgwal.VMFork, pgwal.InitFork} {
		if name == fork.String() {
			return fork, true
		}
	}
	return 0, false
}

// parseOID reads a positive decimal number as PostgreSQL writes it: no sign, no
// leading zero.
func parseOID(s string) (uint32, bool) {
	v, err := strconv.ParseUint(s, 10, 32)
	if err != nil || v == 0 || s[0] == '0' || s[0] == '+' {
		return 0, false
	}
	return uint32(v), true
}

// isTemporary reports whether name is that of a temporary relation's file: t, the
// backend's number, _, and the rest as any relation's.
func isTemporary(name string) bool {
	rest, found := strings.CutPrefix(name, "t")
	if !found {
		return false
	}
	backend, rest, found := strings.Cut(rest, "_")
	if _, err := strconv.ParseUint(backend, 10, 32); err != nil || !found {
		return false
	}
	_, _, _, ok := parseForkName(rest)
	return ok
}
