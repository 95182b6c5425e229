package verify

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"github.com/varvedb/varve/pageserver/basebackup"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/wal/pgwal"
)

// Layouts within the pages of SLRUs, beside the numbers in package pgkey.
const (
	xactsPerByte     = 4
	memberGroupBytes = 20
	membersPerGroup  = 4
	commitTsBytes    = 10
	multiOffsetBytes = 4

	// firstNormalXID follows the transaction ids with a meaning of their own.
	firstNormalXID = 3
)

// facts compares the facts of one SLRU, entry by entry; pages that are equal on both
// sides at a glance.
type facts struct {
	slru   pgkey.SLRU
	what   string                                // an entry is, followed by its number
	place  func(id uint32) (page uint32, at int) // of the entry's first byte
	decode func(page []byte, id uint32) string

	report       *Report
	stored, disk slruReader
	known        bool   // the fields below are set
	number       uint32 // of the page looked at last
	equal        bool   // that page is there and the same on both sides
	compared     int64
}

func (v *verifier) newFacts(slru pgkey.SLRU, stored map[string][]byte) *facts {
	return &facts{
		slru:   slru,
		report: v.report,
		stored: slruReader{slru.String(), map[uint32][]byte{}, func(path string) ([]byte, error) { return stored[path], nil }},
		disk:   slruReader{slru.String(), map[uint32][]byte{}, func(path string) ([]byte, error) { return fs.ReadFile(v.fsys, path) }},
	}
}

// check compares one entry and counts it.
func (f *facts) check(id uint32) error {
	f.compared++
	number, at := f.place(id)
	if f.known && f.number == number && f.equal {
		return nil
	}
	stored, err := f.stored.page(number)
	if err != nil {
		return err
	}
	disk, err := f.disk.page(number)
	if err != nil {
		return err
	}
	f.known, f.number, f.equal = true, number, stored != nil && bytes.Equal(stored, disk)
	if want, got := f.text(stored, id), f.text(disk, id); want != got || stored == nil {
		path := f.slru.String() + "/" + basebackup.SLRUSegmentName(number/pgkey.SLRUSegmentPages)
		offset := int64(number%pgkey.SLRUSegmentPages)*pgwal.PageSize + int64(at)
		f.report.mismatch(Mismatch{File: path, Block: -1, Offset: offset, What: fmt.Sprintf("%s %d", f.what, id), Stored: want, Disk: got})
	}
	return nil
}

func (f *facts) text(page []byte, id uint32) string {
	if page == nil {
		return "no page"
	}
	return f.decode(page, id)
}

// done counts what was compared.
func (f *facts) done() {
	if f.compared > 0 {
		add(&f.report.Entries, f.slru.String(), f.compared)
	}
}

// facts compares the live ranges of transaction facts.
func (v *verifier) facts(stored map[string][]byte, c *pgwal.CheckPoint) error {
	if err := v.statuses(stored, c); err != nil {
		return err
	}
	if err := v.commitTimes(stored, c); err != nil {
		return err
	}
	return v.multixacts(stored, c)
}

// nextXID wraps around past the ids that have a meaning of their own.
func nextXID(xid uint32) uint32 { return max(xid+1, firstNormalXID) }

var statusNames = [4]string{"in progress", "committed", "aborted", "subcommitted"}

func (v *verifier) statuses(stored map[string][]byte, c *pgwal.CheckPoint) error {
	f := v.newFacts(pgkey.Xact, stored)
	f.what = "status of transaction"
	f.place = func(xid uint32) (uint32, int) {
		return pgkey.XactPage(xid), int(xid % pgkey.XactsPerPage / xactsPerByte)
	}
	f.decode = func(page []byte, xid uint32) string {
		_, at := f.place(xid)
		return statusNames[page[at]>>(xid%xactsPerByte*2)&3]
	}
	defer f.done()
	for xid := c.OldestXID; xid != uint32(c.NextXID); xid = nextXID(xid) {
		if err := f.check(xid); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) commitTimes(stored map[string][]byte, c *pgwal.CheckPoint) error {
	if c.OldestCommitTsXID == 0 || c.NewestCommitTsXID == 0 {
		return nil
	}
	f := v.newFacts(pgkey.CommitTs, stored)
	f.what = "commit time of transaction"
	f.place = func(xid uint32) (uint32, int) {
		return pgkey.CommitTsPage(xid), int(xid % pgkey.CommitTsPerPage * commitTsBytes)
	}
	f.decode = func(page []byte, xid uint32) string {
		_, at := f.place(xid)
		return fmt.Sprintf("%d origin %d", int64(binary.LittleEndian.Uint64(page[at:])), binary.LittleEndian.Uint16(page[at+8:]))
	}
	defer f.done()
	// Right after timestamps were switched on, the newest is the next transaction,
	// which has none yet.
	for xid := c.OldestCommitTsXID; xid != uint32(c.NextXID) && xid != nextXID(c.NewestCommitTsXID); xid = nextXID(xid) {
		if err := f.check(xid); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) multixacts(stored map[string][]byte, c *pgwal.CheckPoint) error {
	f := v.newFacts(pgkey.MultiXactOffsets, stored)
	f.what = "offset of multixact"
	f.place = func(multi uint32) (uint32, int) {
		return pgkey.MultiOffsetPage(multi), int(multi % pgkey.MultiOffsetsPerPage * multiOffsetBytes)
	}
	f.decode = func(page []byte, multi uint32) string {
		_, at := f.place(multi)
		return fmt.Sprint(binary.LittleEndian.Uint32(page[at:]))
	}
	defer f.done()
	for multi := c.OldestMulti; multi != c.NextMulti; multi = max(multi+1, 1) {
		if err := f.check(multi); err != nil {
			return err
		}
	}
	if c.OldestMulti == c.NextMulti {
		return nil
	}
	// The oldest offset is read from the storage: a damaged one on disk was reported.
	number, at := f.place(c.OldestMulti)
	page, err := f.stored.page(number)
	if err != nil || page == nil {
		return err
	}
	return v.members(stored, binary.LittleEndian.Uint32(page[at:]), c.NextMultiOffset)
}

func (v *verifier) members(stored map[string][]byte, oldest, next uint32) error {
	f := v.newFacts(pgkey.MultiXactMembers, stored)
	f.what = "multixact member"
	f.place = func(offset uint32) (uint32, int) {
		n := offset % pgkey.MultiMembersPerPage
		return pgkey.MultiMemberPage(offset), int(n/membersPerGroup*memberGroupBytes + n%membersPerGroup)
	}
	f.decode = func(page []byte, offset uint32) string {
		_, flag := f.place(offset)
		n := offset % pgkey.MultiMembersPerPage
		xid := n/membersPerGroup*memberGroupBytes + membersPerGroup + n%membersPerGroup*4
		return fmt.Sprintf("transaction %d status %d", binary.LittleEndian.Uint32(page[xid:]), page[flag])
	}
	defer f.done()
	for offset := oldest; offset != next; offset++ {
		if err := f.check(offset); err != nil {
			return err
		}
	}
	return nil
}

// slruReader reads an SLRU's pages on one side. Pages that are not there are nil.
type slruReader struct {
	dir      string
	segments map[uint32][]byte
	load     func(path string) ([]byte, error)
}

func (r *slruReader) page(number uint32) ([]byte, error) {
	segment, at := number/pgkey.SLRUSegmentPages, int(number%pgkey.SLRUSegmentPages)*pgwal.PageSize
	body, ok := r.segments[segment]
	if !ok {
		var err error
		body, err = r.load(r.dir + "/" + basebackup.SLRUSegmentName(segment))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		r.segments[segment] = body
	}
	if at+pgwal.PageSize > len(body) {
		return nil, nil
	}
	return body[at : at+pgwal.PageSize], nil
}
