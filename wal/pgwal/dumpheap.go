package pgwal

import "fmt"

func appendHeapBody(dst []byte, rec *Record) ([]byte, error) {
	switch rec.Op() {
	case OpHeapInsert:
		h, err := ParseHeapInsert(rec)
		return fmt.Appendf(dst, "off %d flags 0x%02X", h.Offset, h.Flags), err
	case OpHeapDelete:
		h, err := ParseHeapDelete(rec)
		return appendInfoBits(fmt.Appendf(dst, "off %d flags 0x%02X ", h.Offset, h.Flags), h.InfoBits), err
	case OpHeapUpdate, OpHeapHotUpdate:
		h, err := ParseHeapUpdate(rec)
		dst = appendInfoBits(fmt.Appendf(dst, "off %d xmax %d flags 0x%02X ", h.OldOffset, h.OldXmax, h.Flags), h.OldInfoBits)
		return fmt.Appendf(dst, "; new off %d xmax %d", h.NewOffset, h.NewXmax), err
	case OpHeapTruncate:
		h, err := ParseHeapTruncate(rec)
		return h.appendDump(dst), err
	case OpHeapConfirm:
		offset, err := ParseHeapConfirm(rec)
		return fmt.Appendf(dst, "off %d", offset), err
	case OpHeapLock:
		h, err := ParseHeapLock(rec)
		return appendInfoBits(fmt.Appendf(dst, "off %d: xid %d: flags 0x%02X ", h.Offset, h.Xmax, h.Flags), h.InfoBits), err
	case OpHeapInplace:
		offset, err := ParseHeapInplace(rec)
		return fmt.Appendf(dst, "off %d", offset), err
	}
	return dst, nil
}

func (h *HeapTruncate) appendDump(dst []byte) []byte {
	if h.Cascade {
		dst = append(dst, "cascade "...)
	}
	if h.RestartSeqs {
		dst = append(dst, "restart_seqs "...)
	}
	return appendXIDs(fmt.Appendf(dst, "nrelids %d relids", len(h.Rels)), h.Rels)
}

func appendHeap2Body(dst []byte, rec *Record) ([]byte, error) {
	switch rec.Op() {
	case OpHeap2Prune:
		h, err := ParseHeapPrune(rec)
		return fmt.Appendf(dst, "latestRemovedXid %d nredirected %d ndead %d", h.LatestRemovedXID, h.Redirected, h.Dead), err
	case OpHeap2Vacuum:
		unused, err := ParseHeapVacuum(rec)
		return fmt.Appendf(dst, "nunused %d", unused), err
	case OpHeap2FreezePage:
		h, err := ParseHeapFreezePage(rec)
		return fmt.Appendf(dst, "cutoff xid %d ntuples %d", h.CutoffXID, h.Tuples), err
	case OpHeap2Visible:
		h, err := ParseHeapVisible(rec)
		return fmt.Appendf(dst, "cutoff xid %d flags 0x%02X", h.CutoffXID, h.Flags), err
	case OpHeap2MultiInsert:
		h, err := ParseHeapMultiInsert(rec)
		return fmt.Appendf(dst, "%d tuples flags 0x%02X", h.Tuples, h.Flags), err
	case OpHeap2LockUpdated:
		h, err := ParseHeapLock(rec)
		return appendInfoBits(fmt.Appendf(dst, "off %d: xmax %d: flags 0x%02X ", h.Offset, h.Xmax, h.Flags), h.InfoBits), err
	case OpHeap2NewCID:
		h, err := ParseHeapNewCID(rec)
		return fmt.Appendf(dst, "rel %s; tid %d/%d; cmin: %d, cmax: %d, combo: %d", h.Rel, h.Block, h.Offset, h.Cmin, h.Cmax, h.Combo), err
	}
	return dst, nil
}

var infoBitNames = [...]string{"IS_MULTI ", "LOCK_ONLY ", "EXCL_LOCK ", "KEYSHR_LOCK ", "KEYS_UPDATED "}

func appendInfoBits(dst []byte, bits uint8) []byte {
	for i, name := range infoBitNames {
		if bits&(1<<i) != 0 {
			dst = append(dst, name...)
		}
	}
	return dst
}
