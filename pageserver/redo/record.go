package redo

import (
	"fmt"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// Native reports whether the records of a resource manager are redone here. Others that
// touch pages, which are those of extensions, take the image route.
func Native(rmgr pgwal.RMgr) bool {
	switch rmgr {
	case pgwal.RMgrHeap2, pgwal.RMgrHeap, pgwal.RMgrBtree, pgwal.RMgrHash, pgwal.RMgrGin, pgwal.RMgrGist, pgwal.RMgrSequence, pgwal.RMgrSPGist, pgwal.RMgrBRIN, pgwal.RMgrGeneric:
		return true
	}
	return false
}

// change calls the function of the record's resource manager. It is a switch, not a
// table of functions, for what is passed to a function of a table is allocated.
func change(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	switch rec.RMgr {
	case pgwal.RMgrHeap2:
		return heap2(page, rec, ref)
	case pgwal.RMgrHeap:
		return heap(page, rec, ref)
	case pgwal.RMgrBtree:
		return btree(page, rec, ref)
	case pgwal.RMgrHash:
		return hash(page, rec, ref)
	case pgwal.RMgrGin:
		return gin(page, rec, ref)
	case pgwal.RMgrGist:
		return gist(page, rec, ref)
	case pgwal.RMgrSequence:
		return sequence(page, rec, ref)
	case pgwal.RMgrSPGist:
		return spgist(page, rec, ref)
	case pgwal.RMgrBRIN:
		return brin(page, rec, ref)
	case pgwal.RMgrGeneric:
		return generic(page, rec, ref)
	}
	return corrupt("resource manager to redo", "a native one", rec.RMgr)
}

// Record makes of page, the one before rec, the page after it. ref is the page's
// reference in rec, whose resource manager is [Native]. Images in the record are not
// looked at. After an error, which matches wal.ErrCorruption, page is undefined.
func Record(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	if ref.WillInit {
		clear(page)
	} else if IsNew(page) && !madeOnDemand(rec, ref) {
		return corrupt("page that the record changes", "an initialised one", "a new one")
	}
	if err := change(page, rec, ref); err != nil {
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
