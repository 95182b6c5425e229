package pgwal

import "strconv"

// The operations of Storage records (storage_xlog.h).
const (
	OpSmgrCreate   = 0x10
	OpSmgrTruncate = 0x20
)

// SmgrCreate is what a CREATE record says: one fork of a relation exists, empty.
type SmgrCreate struct {
	Rel  RelFileNode
	Fork Fork
}

// ParseSmgrCreate reads a Storage CREATE record.
func ParseSmgrCreate(rec *Record) (SmgrCreate, error) {
	f := mainData(rec)
	c := SmgrCreate{Rel: f.rel()}
	fork := f.u32()
	c.Fork = Fork(fork)
	f.failed = f.failed || fork > uint32(InitFork)
	return c, f.done()
}

// SmgrTruncate is what a TRUNCATE record says: the main fork is cut to Blocks pages,
// and the maps to what covers them, as far as Flags names them.
type SmgrTruncate struct {
	Rel    RelFileNode
	Blocks BlockNumber
	Flags  uint32 // SmgrTruncate… flags
}

// Which forks a [SmgrTruncate] cuts.
const (
	SmgrTruncateHeap = 1 << 0
	SmgrTruncateVM   = 1 << 1
	SmgrTruncateFSM  = 1 << 2
)

// ParseSmgrTruncate reads a Storage TRUNCATE record.
func ParseSmgrTruncate(rec *Record) (SmgrTruncate, error) {
	f := mainData(rec)
	t := SmgrTruncate{Blocks: f.u32(), Rel: f.rel(), Flags: f.u32()}
	return t, f.done()
}

// The tablespaces that every cluster has, and the name of version 15's directory in
// all others.
const (
	DefaultTablespace   = 1663 // base/
	GlobalTablespace    = 1664 // global/
	TablespaceDirectory = "PG_15_202209061"
)

// AppendPath appends the path of a fork's first file below the data directory, as
// PostgreSQL names it, such as base/5/16384_vm.
func (r RelFileNode) AppendPath(dst []byte, fork Fork) []byte {
	switch r.Spc {
	case GlobalTablespace:
		dst = append(dst, "global/"...)
	case DefaultTablespace:
		dst = append(dst, "base/"...)
		dst = append(strconv.AppendUint(dst, uint64(r.DB), 10), '/')
	default:
		dst = append(dst, "pg_tblspc/"...)
		dst = append(strconv.AppendUint(dst, uint64(r.Spc), 10), "/"+TablespaceDirectory+"/"...)
		dst = append(strconv.AppendUint(dst, uint64(r.DB), 10), '/')
	}
	dst = strconv.AppendUint(dst, uint64(r.Rel), 10)
	if fork != MainFork {
		dst = append(append(dst, '_'), fork.String()...)
	}
	return dst
}
