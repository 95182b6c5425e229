package pgwal_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// FuzzDecoder demands of any bytes: records or a corruption error, the same ones however
// the bytes are cut, each record's bytes decodable by themselves to the same record.
func FuzzDecoder(f *testing.F) {
	// Small seeds, for the fuzzer spends its time on making large ones smaller.
	for _, p := range positions {
		e := pgwal.NewEncoder(p.at, 0, systemID)
		e.Append(specs()[0])
		e.Append(specs()[2])
		f.Add(uint64(p.at), e.Bytes(), 17)
	}
	log, _, _ := abandoned(0)
	f.Add(uint64(0x3001f00), log, 1000)
	f.Fuzz(func(t *testing.T, at uint64, log []byte, size int) {
		start := wal.LSN(at)&^7 | 0x1000028
		if start%pgwal.WALPageSize < 40 {
			start &^= 0x1ff // a page's start
		}
		whole, errWhole := decodeFuzzed(t, start, log, len(log)+1)
		pieces, errPieces := decodeFuzzed(t, start, log, 1+(size&0xfff))
		require.Equal(t, errWhole, errPieces)
		require.Equal(t, whole, pieces)
	})
}

func decodeFuzzed(t *testing.T, start wal.LSN, log []byte, size int) (all []dumped, err error) {
	d := pgwal.NewDecoder("log", start)
	var r, again pgwal.Record
	page := make([]byte, pgwal.PageSize)
	for len(log) > 0 && err == nil {
		n := min(size, len(log))
		d.Feed(log[:n])
		log = log[n:]
		var ok bool
		for ok, err = d.Next(&r); ok; ok, err = d.Next(&r) {
			require.Less(t, r.LSN, r.End)
			require.Equal(t, r.End, d.Position())
			all = append(all, asDumped(&r))
			require.NoError(t, pgwal.DecodeRecord("kept", r.LSN, r.End, r.Raw, &again))
			require.Equal(t, r, again)
			for i := range r.Blocks {
				if r.Blocks[i].HasImage {
					if err := r.Restore(&r.Blocks[i], page); err != nil {
						require.ErrorIs(t, err, wal.ErrCorruption)
					}
				}
			}
		}
	}
	if err != nil {
		require.ErrorIs(t, err, wal.ErrCorruption)
	}
	return all, err
}

// FuzzRecord puts bytes behind a record header with the right length and checksum, so
// that what is inside a record is reached.
func FuzzRecord(f *testing.F) {
	for _, spec := range specs() {
		e := pgwal.NewEncoder(0x3000028, 0, systemID)
		start, _ := e.Append(spec)
		decodeAll(f, start, e.Bytes(), 1<<20, func(r *pgwal.Record) {
			if len(r.Raw) < 2000 {
				f.Add(uint8(r.RMgr), r.Info, bytes.Clone(r.Raw[24:]))
			}
		})
	}
	page := make([]byte, pgwal.PageSize)
	f.Fuzz(func(t *testing.T, rmgr, info uint8, body []byte) {
		raw := rawRecord(rmgr, info, body)
		var r pgwal.Record
		if err := pgwal.DecodeRecord("record", 0x3000028, 0x3000028+wal.LSN(len(raw)), raw, &r); err != nil {
			require.True(t, errors.Is(err, wal.ErrCorruption))
			return
		}
		spent := len(r.MainData)
		for i := range r.Blocks {
			b := &r.Blocks[i]
			spent += len(b.Data) + len(b.Image.Bytes)
			if b.HasImage {
				if err := r.Restore(b, page); err != nil {
					require.ErrorIs(t, err, wal.ErrCorruption)
				}
			}
		}
		require.LessOrEqual(t, spent, len(body))
	})
}
