package world

import (
	"bytes"
	"hash/crc32"
	"math"
	"slices"
)

const (
	pageSize   = 4096 // the block that the disk writes; unsynced ones are kept or lost alone
	sectorSize = 512  // the part of a block that is written or not
	headSize   = 64   // of a page of which only the head is kept
)

// page is a block: what it begins with, the rest being zeros. It is nil where nothing was
// written; blank or a head where a whole block was written that ends in zeros, so that a
// segment of a log which is empty but for its page headers takes little memory; and else
// all of the block. Only that is ever changed in place.
type page []byte

// blank is a block of zeros that was written. All files share it.
var blank = page{}

// zeros is never written to.
var zeros [pageSize]byte

func (p page) whole() bool { return len(p) == pageSize }

// is reports whether two pages are one in memory, so that a change of one changes the other.
func (p page) is(o page) bool { return p.whole() && o.whole() && &p[0] == &o[0] }

// fill makes q, which is whole, equal to p.
func (p page) fill(q page) { clear(q[copy(q, p):]) }

// wholeOf is a whole copy of a page.
func wholeOf(p page) page {
	q := make(page, pageSize)
	copy(q, p)
	return q
}

// inode is a file, or the mark of a directory.
type inode struct {
	dir     bool
	size    int64
	stays   int64   // the size that is on the disk
	cut     int64   // the smallest size since it was on the disk
	pages   []page  // what programs see
	disk    []page  // what is on the disk. An element may be pages' own.
	state   []uint8 // of each of pages
	dirty   []int   // indices of pages written since the last sync began
	flights []*flight
	spare   *spares
}

// sparesMax bounds a disk's spare pages: as many as a few large syncs let go of.
const sparesMax = 1024

// spares is a disk's memory for pages that nothing refers to.
type spares struct {
	pages []page // whole, of any content
	heads []byte // not yet handed out
}

// take returns a whole page of any content.
func (s *spares) take() page {
	last := len(s.pages) - 1
	if last < 0 {
		return make(page, pageSize)
	}
	p := s.pages[last]
	s.pages = s.pages[:last]
	return p
}

func (s *spares) give(p page) {
	if p.whole() && len(s.pages) < sparesMax {
		s.pages = append(s.pages, p)
	}
}

// headsBytes is how much memory for heads is made at once.
const headsBytes = 64 * headSize

// head returns a page that begins with p, which is as long as a head.
func (s *spares) head(p []byte) page {
	if len(s.heads) < headSize {
		s.heads = make([]byte, headsBytes)
	}
	head := s.heads[:headSize:headSize]
	s.heads = s.heads[headSize:]
	copy(head, p)
	return head
}

// The state of a page.
const (
	isDirty  = 1 << iota // it is among the dirty
	isFrozen             // a sync under way has it: it is replaced, not changed
)

// flight is what a sync under way was told to make durable: what was written before
// it began, and nothing after.
type flight struct {
	at    []int
	pages []page
	size  int64
	cut   int64
}

func (d *Disk) newFile() *inode { return &inode{cut: math.MaxInt64, spare: &d.spare} }

func pagesOf(size int64) int { return int((size + pageSize - 1) / pageSize) }

// read fills p from an offset; all of it is inside the file.
func (i *inode) read(p []byte, off int64) {
	for len(p) > 0 {
		at, in := int(off/pageSize), int(off%pageSize)
		n := min(len(p), pageSize-in)
		kept := i.page(at)
		clear(p[copy(p[:n], kept[min(in, len(kept)):]):n])
		p, off = p[n:], off+int64(n)
	}
}

// own makes a page writable: whole, and not the disk's.
func (i *inode) own(at int) page {
	before := i.page(at)
	p := i.replace(at)
	if !p.is(before) {
		before.fill(p)
	}
	return p
}

// replace is own for who writes the whole page: it may have any content.
func (i *inode) replace(at int) page {
	i.grow(at + 1)
	p := i.pages[at]
	if !p.whole() || i.state[at]&isFrozen != 0 || at < len(i.disk) && i.disk[at].is(p) {
		p = i.spare.take()
	}
	i.set(at, p)
	return p
}

// set has programs see a page that no sync under way has.
func (i *inode) set(at int, p page) {
	i.pages[at] = p
	i.state[at] &^= isFrozen
	i.mark(at)
}

func (i *inode) grow(pages int) {
	if more := pages - len(i.pages); more > 0 {
		i.pages = append(i.pages, make([]page, more)...)
		i.state = append(i.state, make([]uint8, more)...)
	}
}

func (i *inode) mark(at int) {
	if i.state[at]&isDirty == 0 {
		i.state[at] |= isDirty
		i.dirty = append(i.dirty, at)
	}
}

// write returns the CRC of p. It is made page by page, as a whole segment of a log would be
// fetched from memory once more.
func (i *inode) write(p []byte, off int64) (crc uint32) {
	if len(p) == 0 {
		return 0 // which would not make the file longer
	}
	i.size = max(i.size, off+int64(len(p)))
	for len(p) > 0 {
		at, in := int(off/pageSize), int(off%pageSize)
		n := min(pageSize-in, len(p))
		if n == pageSize {
			i.writePage(at, p[:pageSize])
		} else {
			copy(i.own(at)[in:], p[:n])
		}
		crc = crc32.Update(crc, castagnoli, p[:n])
		p, off = p[n:], off+int64(n)
	}
	return crc
}

// writePage writes a whole page. One that ends in zeros takes little memory where there was
// none that did not.
func (i *inode) writePage(at int, p []byte) {
	if i.page(at).whole() || !bytes.Equal(p[headSize:], zeros[headSize:]) {
		copy(i.replace(at), p)
		return
	}
	i.grow(at + 1)
	if bytes.Equal(p[:headSize], zeros[:headSize]) {
		i.set(at, blank)
	} else {
		i.set(at, i.spare.head(p[:headSize]))
	}
}

// truncate sets the size; what lies beyond reads as zeros if the file grows again.
func (i *inode) truncate(size int64) {
	for at := pagesOf(size); at < len(i.pages); at++ {
		if i.pages[at] != nil {
			i.pages[at] = nil
			i.state[at] &^= isFrozen
			i.mark(at)
		}
	}
	if tail := int(size % pageSize); tail != 0 && size < i.size && size/pageSize < int64(len(i.pages)) && i.pages[size/pageSize] != nil {
		clear(i.own(int(size / pageSize))[tail:])
	}
	i.size, i.cut = size, min(i.cut, size)
}

// put has the disk hold a page as programs see it now.
func (i *inode) put(at int, p page) {
	if more := at + 1 - len(i.disk); more > 0 {
		i.disk = append(i.disk, make([]page, more)...)
	}
	i.disk[at] = p
}

// beginSync takes what is to be made durable. Every flight ends by endSync, or by a
// loss of power.
func (i *inode) beginSync() *flight {
	f := &flight{at: i.dirty, pages: make([]page, len(i.dirty)), size: i.size, cut: i.cut}
	for k, at := range i.dirty {
		f.pages[k] = i.pages[at]
		i.state[at] = isFrozen
	}
	i.dirty, i.cut = nil, math.MaxInt64
	i.flights = append(i.flights, f)
	return f
}

// endSync lands a flight, and those that began before it, with the given fate of
// each page. It does nothing if the flight has landed.
func (i *inode) endSync(f *flight, land func(at int, p page)) {
	last := slices.Index(i.flights, f)
	for _, f := range i.flights[:last+1] {
		for k, at := range f.at {
			land(at, f.pages[k])
		}
		i.stays = f.size
	}
	i.flights = i.flights[last+1:]
}

// sync lands a flight as a disk does that has no worse fault than to lose a page or
// to write it elsewhere.
func (i *inode) sync(f *flight, n *Node) {
	i.endSync(f, func(at int, p page) {
		switch {
		case n.hit(DiskLostWrite, n.files):
		case p != nil && n.hit(DiskMisdirect, n.files):
			i.put(int(n.files.Below(uint32(pagesOf(i.size)+1))), wholeOf(p))
		default:
			// A page of the disk is at most the program's own besides: a sync that
			// has it has landed.
			if at < len(i.disk) && !i.disk[at].is(i.page(at)) && !i.disk[at].is(p) {
				i.spare.give(i.disk[at])
			}
			i.put(at, p)
		}
	})
}

func (i *inode) page(at int) page {
	if at < len(i.pages) {
		return i.pages[at]
	}
	return nil
}

// failSync lands a flight that failed: some pages reached the disk, and the others
// are not written by a later sync either. Flights that began before it are not
// concerned.
func (i *inode) failSync(f *flight, n *Node) {
	at := slices.Index(i.flights, f)
	if at < 0 {
		return // a later flight has landed it
	}
	i.flights = slices.Delete(i.flights, at, at+1)
	for k, at := range f.at {
		if n.files.Below(2) == 1 {
			i.put(at, f.pages[k])
		}
	}
	if n.files.Below(2) == 1 {
		i.stays = f.size
	}
}

// lose is what the loss of power does to a file: of each page that was not synced
// the disk has the old, the new, or some sectors of the new; sizes come back, and
// with them what was cut off, unless the cut is on the disk.
func (i *inode) lose(n *Node) {
	f := i.beginSync()
	size, cut := i.size, int64(math.MaxInt64)
	for _, f := range i.flights {
		cut = min(cut, f.cut)
	}
	if (size != i.stays || cut < i.stays) && n.hit(DiskLoss, n.files) {
		size = i.stays
	} else if cut < i.stays {
		i.cutDisk(cut)
	}
	i.endSync(f, func(at int, p page) {
		switch {
		case n.hit(DiskLoss, n.files):
		case n.hit(DiskTorn, n.files):
			i.put(at, i.torn(at, p, n.files))
		default:
			i.put(at, p)
		}
	})
	i.cutDisk(size)
	i.pages, i.state = slices.Clone(i.disk), make([]uint8, len(i.disk))
	i.size, i.stays, i.cut = size, size, math.MaxInt64
}

// cutDisk cuts off what the disk has beyond a size.
func (i *inode) cutDisk(size int64) {
	i.disk = i.disk[:min(len(i.disk), pagesOf(size))]
	if at, tail := int(size/pageSize), int(size%pageSize); tail != 0 && at < len(i.disk) && i.disk[at] != nil {
		last := wholeOf(i.disk[at])
		clear(last[tail:])
		i.disk[at] = last
	}
}

// torn is a page of which only some sectors were written.
func (i *inode) torn(at int, p page, c *Choices) page {
	var old page
	if at < len(i.disk) {
		old = i.disk[at]
	}
	mixed, fresh := wholeOf(old), wholeOf(p)
	written := c.Below(1 << (pageSize / sectorSize))
	for s := range pageSize / sectorSize {
		if written>>s&1 == 1 {
			copy(mixed[s*sectorSize:(s+1)*sectorSize], fresh[s*sectorSize:])
		}
	}
	return mixed
}

// flip flips a bit on the disk, and in what programs see.
func (i *inode) flip(off int64, bit uint) {
	at, in := int(off/pageSize), int(off%pageSize)
	i.grow(at + 1)
	wasDirty := i.state[at]&isDirty != 0
	i.own(at)[in] ^= 1 << (bit % 8)
	if !wasDirty {
		i.state[at] &^= isDirty
		i.dirty = i.dirty[:len(i.dirty)-1]
		i.put(at, i.pages[at])
	}
}
