package pgwal_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
)

// lastImage is a page as its last record's image has it.
type lastImage struct {
	page   []byte
	hole   []byte // the hole, inside page
	packed pgwal.Compression
	rmgr   pgwal.RMgr
}

type pageID struct {
	rel   pgwal.RelFileNode
	block uint32
}

// TestRestoreGivesThePagesOnDisk holds the last image of each page of a real log against
// PostgreSQL's own file after a clean shutdown. With consistency checking on, every
// record carries the page after its change. The pages of these managers have no hints
// that change without a record, so the images must be the files' bytes, outside the hole.
func TestRestoreGivesThePagesOnDisk(t *testing.T) {
	methods := []pgwal.Compression{
		pgwal.CompressionNone, pgwal.CompressionPGLZ, pgwal.CompressionLZ4, pgwal.CompressionZSTD,
	}
	conf := map[string]string{"wal_consistency_checking": "all", "autovacuum": "off"}
	log := makeRealLog(t, conf, func(s *pgtest.Server) {
		for i, method := range methods {
			setting := method.String()
			if method == pgwal.CompressionNone {
				setting = "off"
			}
			s.SQL(t, fmt.Sprintf(`set wal_compression = %s;
create table t%[2]d (id int, words text[], place point);
create index on t%[2]d using gin (words);
create index on t%[2]d using spgist (place);
create index on t%[2]d using brin (id);
insert into t%[2]d select i, array[md5(i::text), 'w' || i %% 50], point(i %% 97, i * 7 %% 89) from generate_series(1, 1500) i;
vacuum t%[2]d;
create index on t%[2]d (id);`, setting, i))
		}
	})
	pages := map[pageID]lastImage{}
	decodeAll(t, log.start, log.bytes, 1<<20, func(r *pgwal.Record) {
		for i := range r.Blocks {
			if b := &r.Blocks[i]; b.HasImage && b.Fork == pgwal.MainFork {
				page := make([]byte, pgwal.PageSize)
				require.NoError(t, r.Restore(b, page))
				binary.LittleEndian.PutUint32(page, uint32(r.End>>32))
				binary.LittleEndian.PutUint32(page[4:], uint32(r.End))
				hole := page[b.Image.HoleOffset:][:b.Image.HoleLength]
				pages[pageID{b.Rel, b.Block}] = lastImage{page, hole, b.Image.Compression, r.RMgr}
			}
		}
	})
	compared := map[pgwal.Compression]int{}
	for id, image := range pages {
		switch image.rmgr {
		case pgwal.RMgrGin, pgwal.RMgrSPGist, pgwal.RMgrBRIN:
			disk := pageOnDisk(t, log, id)
			// What items once were may still lie in the hole of the page on disk.
			offset := pgwal.PageSize - cap(image.hole)
			clear(disk[offset : offset+len(image.hole)])
			require.True(t, bytes.Equal(disk, image.page), "%v block %d, %v", id.rel, id.block, image.rmgr)
			compared[image.packed]++
		}
	}
	t.Log(compared)
	for _, method := range methods {
		require.Greater(t, compared[method], 20, "%v", method)
	}
}

func pageOnDisk(t *testing.T, log realLog, id pageID) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join(log.server.DataDir, "base", fmt.Sprint(id.rel.DB), fmt.Sprint(id.rel.Rel)))
	require.NoError(t, err)
	defer f.Close()
	page := make([]byte, pgwal.PageSize)
	_, err = f.ReadAt(page, int64(id.block)*pgwal.PageSize)
	require.NoError(t, err)
	return page
}

// imageRecord is a record that holds nothing but an image.
func imageRecord(compression pgwal.Compression, hole uint16, packed []byte) (*pgwal.Record, *pgwal.BlockRef) {
	r := &pgwal.Record{LSN: 0x3000028, Blocks: []pgwal.BlockRef{{HasImage: true, Image: pgwal.Image{
		Compression: compression, Length: uint16(len(packed)), HoleLength: hole, Bytes: packed,
	}}}}
	if hole > 0 {
		r.Blocks[0].Image.HoleOffset = 24
	}
	return r, &r.Blocks[0]
}

func TestRestoreRefusesDamagedImages(t *testing.T) {
	// 7 literals, then copies of 18 + 255 bytes: the shape of pglz's output.
	pglz := append([]byte{0x80, 1, 2, 3, 4, 5, 6, 7}, 0x0F, 7, 255)
	for total := 7 + 273; total < pgwal.PageSize-8*273; total += 8 * 273 {
		pglz = append(pglz, 0xFF)
		for range 8 {
			pglz = append(pglz, 0x0F, 7, 255)
		}
	}
	page := make([]byte, pgwal.PageSize)
	n := 7 + 273 + 24*273
	require.Equal(t, 1+7+3+3*25, len(pglz))
	r, b := imageRecord(pgwal.CompressionPGLZ, uint16(pgwal.PageSize-n), pglz)
	require.NoError(t, r.Restore(b, page))
	for i, want := 0, 0; i < pgwal.PageSize; i++ {
		if i == 24 {
			require.Equal(t, make([]byte, pgwal.PageSize-n), page[24:24+pgwal.PageSize-n])
			i += pgwal.PageSize - n
		}
		require.Equal(t, byte(want%7+1), page[i], "byte %d", i)
		want++
	}
	for cut := range pglz {
		r, b := imageRecord(pgwal.CompressionPGLZ, uint16(pgwal.PageSize-n), pglz[:cut])
		require.ErrorIs(t, r.Restore(b, page), wal.ErrCorruption, "cut at %d", cut)
	}
	for name, damaged := range map[string][]byte{
		"offset zero":        {1, 0x0F, 0, 255},
		"offset before page": {2, 9, 0x0F, 2, 255},
		"longer than a page": append(pglz, 0, 1),
		"no copy":            {1, 0x0F},
	} {
		r, b := imageRecord(pgwal.CompressionPGLZ, uint16(pgwal.PageSize-n), damaged)
		require.ErrorIs(t, r.Restore(b, page), wal.ErrCorruption, name)
	}
	for _, method := range []pgwal.Compression{pgwal.CompressionNone, pgwal.CompressionLZ4, pgwal.CompressionZSTD} {
		for _, bytes := range [][]byte{nil, {0}, []byte("not what it says")} {
			r, b := imageRecord(method, 0, bytes)
			require.ErrorIs(t, r.Restore(b, page), wal.ErrCorruption)
		}
	}
}
