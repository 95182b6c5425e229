package cluster

import (
	"context"
	"encoding/binary"

	"github.com/varvedb/varve/wal/pgwal"
)

// RowsPerPage is how many rows InsertRows puts on a page: so many as a branch of TPC-B
// has tellers.
const RowsPerPage = 10

// Rows of TPC-B's tellers: three numbers, the last of which is a balance that
// transactions change, and a text that is null.
const (
	rowColumns    = 4
	rowHoff       = 24 // t_hoff
	rowNotNull    = 0x07
	rowHasNull    = 0x0001 // of t_infomask
	rowXmaxIsNone = 0x0800
	rowUpdated    = 0x2000
	rowHeapOnly   = 0x8000 // of t_infomask2
	rowKeyBytes   = 8      // of the numbers that stay
)

// rowPage says where the rows of a page are.
type rowPage struct {
	pointers [RowsPerPage]uint16 // the line pointer of each row's last version
	next     uint16              // the first line pointer that is free
}

// rowNumbers are what precedes a row's balance: which teller, and which branch.
func rowNumbers(block, row int) (b [rowKeyBytes]byte) {
	binary.LittleEndian.PutUint32(b[:], uint32(block*RowsPerPage+row))
	binary.LittleEndian.PutUint32(b[4:], uint32(block))
	return b
}

func rowHeader(mask2, mask uint16) []byte {
	return append(binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, mask2), mask), rowHoff)
}

// InsertRows appends pages of rows to a relation that has none but such, each by one
// MULTI_INSERT+INIT record, and takes them in.
func (p *Pages) InsertRows(ctx context.Context, pages int) error {
	le := binary.LittleEndian
	for block := p.Blocks; block < p.Blocks+pages; block++ {
		var data []byte
		page := rowPage{next: RowsPerPage + 1}
		for row := range RowsPerPage {
			numbers := rowNumbers(block, row)
			rest := append(append([]byte{rowNotNull}, numbers[:]...), 0, 0, 0, 0)
			if len(data)%2 != 0 {
				data = append(data, 0)
			}
			data = append(le.AppendUint16(data, uint16(len(rest))), rowHeader(rowColumns, rowHasNull|rowXmaxIsNone)...)
			data = append(data, rest...)
			page.pointers[row] = uint16(row + 1)
		}
		p.rows = append(p.rows, page)
		_, p.end = p.log.Append(pgwal.RecordSpec{
			RMgr: pgwal.RMgrHeap2, Info: pgwal.OpHeap2MultiInsert | pgwal.InfoInitPage, XID: p.xid,
			MainData: le.AppendUint16([]byte{pgwal.HeapInsertLastInMulti, 0}, RowsPerPage),
			Blocks:   []pgwal.BlockSpec{{Rel: Rel, Block: uint32(block), WillInit: true, Data: data}},
		})
	}
	p.Blocks += pages
	return p.Ingest(ctx)
}

// UpdateRows gives each page so many updates of its rows, by HOT_UPDATE records, and
// takes them in. They go round the relation, so that a page's are far apart in the log.
// A page has room for some hundred and ninety versions of its rows.
func (p *Pages) UpdateRows(ctx context.Context, updates int) error {
	for i := range updates {
		for block := range p.rows {
			p.updateRow(block, i%RowsPerPage)
		}
		if err := p.Ingest(ctx); err != nil {
			return err
		}
	}
	return nil
}

// updateRow changes a row's balance to the line pointer of the version that has it. The
// record says nothing of the numbers before it, which are the old version's.
func (p *Pages) updateRow(block, row int) {
	le, page := binary.LittleEndian, &p.rows[block]
	main := append(le.AppendUint16(le.AppendUint32(nil, p.xid), page.pointers[row]), 0, pgwal.HeapUpdatePrefixFromOld)
	main = le.AppendUint16(le.AppendUint32(main, 0), page.next)
	data := append(le.AppendUint16(nil, rowKeyBytes), rowHeader(rowColumns|rowHeapOnly, rowHasNull|rowXmaxIsNone|rowUpdated)...)
	data = le.AppendUint32(append(data, rowNotNull), uint32(page.next))
	_, p.end = p.log.Append(pgwal.RecordSpec{
		RMgr: pgwal.RMgrHeap, Info: pgwal.OpHeapHotUpdate, XID: p.xid, MainData: main,
		Blocks: []pgwal.BlockSpec{{Rel: Rel, Block: uint32(block), Data: data}},
	})
	page.pointers[row] = page.next
	page.next++
}
