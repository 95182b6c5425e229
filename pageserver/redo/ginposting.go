package redo

import "encoding/binary"

// A posting list holds rows of a heap in ascending order, compressed:
//
//	| first row (6) | length (2) | distances (length) | padding to an even length |
//
// A row as a number is its block, shifted by 11 bits, and its line pointer. Each distance
// from the row before is written 7 bits a byte, the lowest first; all but its last byte
// have the high bit set.
const (
	ginRowBits     = 11 // of a line pointer
	ginListHeader  = 8
	ginRowMaxBytes = 7 // of a distance
)

// The changes that a record makes to the lists of a page.
const (
	ginDeleteList  = 1
	ginInsertList  = 2
	ginReplaceList = 3
	ginAddRows     = 4
)

// ginPostingList is one posting list, padding included.
type ginPostingList []byte

// ginListAt returns the list at the start of b.
func ginListAt(b []byte) (ginPostingList, error) {
	if len(b) < ginListHeader {
		return nil, corrupt("posting list", ginListHeader, len(b))
	}
	size := ginListHeader + (int(get16(b, 6))+1)&^1
	if size > len(b) {
		return nil, corrupt("length of a posting list", len(b), size)
	}
	return b[:size:size], nil
}

func ginRow(b []byte) uint64 { return uint64(tidBlock(b))<<ginRowBits | uint64(get16(b, 4)) }

// ginRows walks the rows of a list.
type ginRows struct {
	row  uint64
	left []byte // distances
	ok   bool   // there is a row
}

func (l ginPostingList) rows() ginRows {
	return ginRows{row: ginRow(l), left: l[ginListHeader:][:get16(l, 6)], ok: true}
}

// next steps to the next row.
func (r *ginRows) next() error {
	if len(r.left) == 0 {
		r.ok = false
		return nil
	}
	distance, n := binary.Uvarint(r.left)
	if n <= 0 || n > ginRowMaxBytes || distance == 0 {
		return corrupt("distance in a posting list", "at least 1, in at most 7 bytes", n)
	}
	r.row, r.left = r.row+distance, r.left[n:]
	return nil
}

// ginListWriter writes posting lists into a page's worth of bytes.
type ginListWriter struct {
	room [ginDataEnd - ginDataStart]byte
	size int
}

// copy appends lists as they are.
func (w *ginListWriter) copy(lists []byte) error {
	if len(lists) > len(w.room)-w.size {
		return corrupt("room for a posting list", len(w.room)-w.size, len(lists))
	}
	w.size += copy(w.room[w.size:], lists)
	return nil
}

// merge appends the list that has the rows of old and the added ones, 6 bytes each, both
// ascending. No row is in both.
func (w *ginListWriter) merge(old ginPostingList, added []byte) error {
	at := w.size
	rows, last, count := old.rows(), uint64(0), 0
	for rows.ok || len(added) > 0 {
		fromOld := rows.ok && (len(added) == 0 || rows.row < ginRow(added))
		row := rows.row
		if !fromOld {
			row = ginRow(added)
			added = added[rowBytes:]
		} else if err := rows.next(); err != nil {
			return err
		}
		if count > 0 && row <= last {
			return corrupt("rows of a posting list", "ascending ones", row)
		}
		if err := w.row(row, last, count == 0); err != nil {
			return err
		}
		last = row
		count++
	}
	length := w.size - at - ginListHeader
	put16(w.room[at:], 6, uint16(length))
	if length%2 == 1 {
		return w.copy([]byte{0})
	}
	return nil
}

// row appends one row to the list that is being written.
func (w *ginListWriter) row(row, last uint64, first bool) error {
	if first {
		var header [ginListHeader]byte
		putTID(header[:], uint32(row>>ginRowBits), uint16(row&(1<<ginRowBits-1)))
		return w.copy(header[:])
	}
	var distance [binary.MaxVarintLen64]byte
	return w.copy(binary.AppendUvarint(distance[:0], row-last))
}

// ginRecompress changes lists of a leaf of a posting tree. The data are the number of
// changes (2), and for each the number of the list it concerns (1), what it does (1),
// and a list, or the number of rows (2) and the rows.
func ginRecompress(page, data []byte) error {
	f, o, err := ginFrame(page)
	if err != nil {
		return err
	}
	if len(data) < 2 || f.lower < ginDataStart || !o.has(ginData|ginLeaf|ginCompressed) {
		return corrupt("page and data of changes to posting lists", "a compressed leaf", f)
	}
	c := ginChanges{old: page[ginDataStart:f.lower], data: data[2:]}
	for range get16(data, 0) {
		if err := c.apply(); err != nil {
			return err
		}
	}
	if len(c.data) > 0 {
		return corrupt("changes to posting lists", 0, len(c.data))
	}
	if err := c.to.copy(c.old); err != nil {
		return err
	}
	return ginStoreLists(page, c.to.room[:c.to.size])
}

// ginStoreLists makes lists the content of a leaf.
func ginStoreLists(page, lists []byte) error {
	if len(lists) > ginDataEnd-ginDataStart {
		return corrupt("posting lists of a page", ginDataEnd-ginDataStart, len(lists))
	}
	end := ginDataStart + copy(page[ginDataStart:], lists)
	clear(page[end:ginDataEnd])
	put16(page, offLower, uint16(end))
	return nil
}

// ginChanges is the work of ginRecompress: lists go from old to to, in order.
type ginChanges struct {
	old   []byte // lists that are yet to be copied or changed
	index int    // of the first of them
	data  []byte // changes that are yet to be made
	to    ginListWriter
}

// apply makes one change.
func (c *ginChanges) apply() error {
	if len(c.data) < 2 {
		return corrupt("change to a posting list", 2, len(c.data))
	}
	index, action := int(c.data[0]), c.data[1]
	c.data = c.data[2:]
	if index < c.index {
		return corrupt("posting list to change", c.index, index)
	}
	for c.index < index {
		list, err := c.take()
		if err != nil {
			return err
		}
		if err := c.to.copy(list); err != nil {
			return err
		}
	}
	switch action {
	case ginDeleteList:
		_, err := c.take()
		return err
	case ginInsertList:
		return c.put()
	case ginReplaceList:
		if _, err := c.take(); err != nil {
			return err
		}
		return c.put()
	case ginAddRows:
		return c.add()
	}
	return corrupt("change to a posting list", "a known one", action)
}

// take takes the next of the old lists.
func (c *ginChanges) take() (ginPostingList, error) {
	list, err := ginListAt(c.old)
	if err != nil {
		return nil, err
	}
	c.old = c.old[len(list):]
	c.index++
	return list, nil
}

// put appends the list in the data.
func (c *ginChanges) put() error {
	list, err := ginListAt(c.data)
	if err != nil {
		return err
	}
	c.data = c.data[len(list):]
	return c.to.copy(list)
}

// add appends the next of the old lists with the rows in the data.
func (c *ginChanges) add() error {
	list, err := c.take()
	if err != nil {
		return err
	}
	if len(c.data) < 2 {
		return corrupt("rows to add to a posting list", 2, len(c.data))
	}
	size := int(get16(c.data, 0)) * rowBytes
	if size > len(c.data)-2 {
		return corrupt("rows to add to a posting list", size, len(c.data)-2)
	}
	rows := c.data[2 : 2+size]
	c.data = c.data[2+size:]
	return c.to.merge(list, rows)
}
