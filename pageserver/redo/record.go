package redo

import (
	"fmt"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// natives are the resource managers whose records are redone here, each by a function
// that changes one page of a record. This is the one table of it: every other manager
// that touches pages takes the image route, and its keyword is in
// wal_consistency_checking.
var natives = [...]func(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error{
	pgwal.RMgrHeap2:    heap2,
	pgwal.RMgrHeap:     heap,
	pgwal.RMgrBtree:    btree,
	pgwal.RMgrGin:      gin,
	pgwal.RMgrSequence: sequence,
	pgwal.RMgrGeneric:  generic,
}

// Native reports whether the records of a resource manager are redone here.
func Native(rmgr pgwal.RMgr) bool { return int(rmgr) < len(natives) && natives[rmgr] != nil }

// Record makes of page, the one before rec, the page after it. ref is the page's
// reference in rec, whose resource manager is [Native]. Images in the record are not
// looked at. After an error, which matches wal.ErrCorruption, page is undefined.
func Record(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	if !Native(rec.RMgr) {
		return corrupt("resource manager to redo", "a native one", rec.RMgr)
	}
	if ref.WillInit {
		clear(page)
	} else if IsNew(page) && !madeOnDemand(rec, ref) {
		return corrupt("page that the record changes", "an initialised one", "a new one")
	}
	if err := natives[rec.RMgr](page, rec, ref); err != nil {
		return fmt.Errorf("apply %v %s: %w", rec.RMgr, rec.Kind(), err)
	}
	SetPageLSN(page, rec.End)
	return nil
}

// madeOnDemand: a page of the visibility map begins when its first bit is set.
func madeOnDemand(rec *pgwal.Record, ref *pgwal.BlockRef) bool {
	return rec.RMgr == pgwal.RMgrHeap2 && ref.Fork == pgwal.VMFork
}

func unknownKind(rec *pgwal.Record) error {
	return corrupt("kind of record that changes a page", "a known one", fmt.Sprintf("%02x", rec.Info))
}

func corrupt(what string, want, got any) error {
	return wal.Corruptf("redo", 0, what, want, got)
}
