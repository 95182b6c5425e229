package redo_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/pageserver/redo"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// change is what redo made of a real record and page when the oracle held it against
// PostgreSQL's image: the same, but for what the masks of package pagediff leave out.
// Testdata has two for each page of each kind. Package oracle writes them:
//
//	| length (1) | kind | manager (1) | page in the record (1) | fork (1) | block (4)
//	| length (4) | page before (8192) | delta | page after (8192) |
type change struct {
	name                 string
	key                  pgkey.Parsed
	before, delta, after []byte
	lsn                  wal.LSN
}

func readChanges(t testing.TB) []change {
	t.Helper()
	file, err := os.Open("testdata/changes.gz")
	require.NoError(t, err)
	defer file.Close()
	unpacked, err := gzip.NewReader(file)
	require.NoError(t, err)
	all, err := io.ReadAll(unpacked)
	require.NoError(t, err)
	take := func(n int) []byte {
		b := all[:n:n]
		all = all[n:]
		return b
	}
	var changes []change
	for len(all) > 0 {
		kind := string(take(int(take(1)[0])))
		head := take(3 + 4 + 4)
		c := change{
			name:   fmt.Sprintf("%v/%s page %d", pgwal.RMgr(head[0]), kind, head[1]),
			key:    pgkey.Parsed{Class: pgkey.ClassBlock, Fork: pgwal.Fork(head[2]), Block: binary.LittleEndian.Uint32(head[3:])},
			before: take(pgwal.PageSize), delta: take(int(binary.LittleEndian.Uint32(head[7:]))), after: take(pgwal.PageSize),
		}
		c.lsn = redo.PageLSN(c.after)
		changes = append(changes, c)
	}
	require.Greater(t, len(changes), 200)
	return changes
}

// Real records make of real pages what they made when PostgreSQL's images were there to compare.
func TestRealChanges(t *testing.T) {
	for _, c := range readChanges(t) {
		page, err := redo.Change(bytes.Clone(c.before), c.key, c.lsn, c.delta)
		require.NoError(t, err, c.name)
		if strings.HasPrefix(c.name, "Gist/") {
			forgetTuplesDeleted(c.after)
			forgetTuplesDeleted(page)
		}
		require.Equal(t, c.after, page, c.name)
	}
}

// forgetTuplesDeleted clears the flag of a GiST page that minor releases of PostgreSQL
// disagree on and that redo leaves alone; pagediff masks it too.
func forgetTuplesDeleted(page []byte) {
	const flags, tuplesDeleted = pgwal.PageSize - 4, 1 << 2
	page[flags] &^= tuplesDeleted
}

// Nothing is read but page and delta, and nothing is written but the page.
func TestDeltasStayAsTheyAre(t *testing.T) {
	for _, c := range readChanges(t) {
		delta := bytes.Clone(c.delta)
		room := append(append([]byte{1, 2, 3}, c.before...), 4, 5, 6)
		_, err := redo.Change(room[3:3+pgwal.PageSize:3+pgwal.PageSize], c.key, c.lsn, delta)
		require.NoError(t, err, c.name)
		require.Equal(t, c.delta, delta, c.name)
		require.Equal(t, []byte{1, 2, 3}, room[:3])
		require.Equal(t, []byte{4, 5, 6}, room[3+pgwal.PageSize:])
	}
}

// requirePageOrCorruption is what redo owes to any bytes.
func requirePageOrCorruption(t testing.TB, c change, page, delta []byte) {
	t.Helper()
	value, err := redo.Change(page, c.key, c.lsn, delta)
	if err != nil && !errors.Is(err, wal.ErrCorruption) {
		t.Fatalf("%s: %v", c.name, err)
	}
	if err == nil && len(value) < pgwal.PageSize {
		t.Fatalf("%s: a page of %d bytes", c.name, len(value))
	}
}

// Damaged in any byte, page or record gives a page or ErrCorruption.
func TestDamageIsNoticedOrHarmless(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	for _, c := range readChanges(t) {
		for range 300 {
			page, delta := bytes.Clone(c.before), bytes.Clone(c.delta)
			for range 1 + random.Intn(3) {
				if random.Intn(2) == 0 && len(delta) > 0 {
					delta[random.Intn(len(delta))] = byte(random.Uint32())
				} else {
					// Most of what matters is at the beginning and at the end.
					page[[]int{random.Intn(64), random.Intn(pgwal.PageSize), pgwal.PageSize - 1 - random.Intn(32)}[random.Intn(3)]] = byte(random.Uint32())
				}
			}
			requirePageOrCorruption(t, c, page, delta)
		}
		for n := range min(len(c.delta), 64) {
			requirePageOrCorruption(t, c, bytes.Clone(c.before), c.delta[:n])
		}
	}
}

// FuzzRecord demands of any page and delta: a page, or ErrCorruption. A new page is one
// of zeros; patch overwrites bytes of the page: | offset (2) | byte (1) | ...
func FuzzRecord(f *testing.F) {
	changes := readChanges(f)
	for i, c := range changes {
		f.Add(uint16(i), c.delta, []byte{12, 0, 24, 16, 0, 0})
	}
	f.Fuzz(func(t *testing.T, from uint16, delta, patch []byte) {
		c := changes[int(from)%len(changes)]
		page := bytes.Clone(c.before)
		for ; len(patch) >= 3; patch = patch[3:] {
			page[binary.LittleEndian.Uint16(patch)%pgwal.PageSize] = patch[2]
		}
		requirePageOrCorruption(t, c, page, delta)
	})
}
