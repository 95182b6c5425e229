package pgwal_test

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files of testdata")

// golden compares text with a file of testdata.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), text)
}

// TestEncoderGolden holds the bytes that the encoder writes: they are in logs already
// written, and in PostgreSQL's format. Images are left out, for their bulk.
func TestEncoderGolden(t *testing.T) {
	e := pgwal.NewEncoder(0x3ffff50, 0x3fff000, systemID)
	for _, spec := range specs() {
		if len(spec.MainData) < 1000 && (len(spec.Blocks) == 0 || spec.Blocks[0].Image == nil && len(spec.Blocks) < 3) {
			e.Append(spec)
		}
	}
	golden(t, "encoder.hex", hex.Dump(e.Bytes()))
}

// TestRealLogGolden reads two pages that PostgreSQL 15 wrote, kept in testdata, so that
// the format is held even where there is no PostgreSQL.
func TestRealLogGolden(t *testing.T) {
	const file = "testdata/real.wal"
	if *rewrite {
		rewriteRealLog(t, file)
	}
	bytes, err := os.ReadFile(file)
	require.NoError(t, err)
	start, err := wal.ParseLSN(strings.TrimSpace(readFile(t, "testdata/real.lsn")))
	require.NoError(t, err)
	var text strings.Builder
	decodeAll(t, start, bytes, 500, func(r *pgwal.Record) {
		fmt.Fprintf(&text, "%v to %v, prev %v, xid %d, %v %02x, %d bytes, main %x\n", r.LSN, r.End, r.Prev, r.XID, r.RMgr, r.Info, r.TotalLen, r.MainData)
		for _, b := range r.Blocks {
			fmt.Fprintf(&text, "  %d: %v %v %d", b.ID, b.Rel, b.Fork, b.Block)
			if b.WillInit {
				fmt.Fprint(&text, " init")
			}
			if b.HasImage {
				fmt.Fprintf(&text, " %v image of %d bytes without %d at %d", b.Image.Compression, b.Image.Length, b.Image.HoleLength, b.Image.HoleOffset)
			}
			fmt.Fprintf(&text, " data %x\n", b.Data)
		}
	})
	golden(t, "real.txt", text.String())
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	bytes, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(bytes)
}

// rewriteRealLog keeps the end of a real log: the last two pages and a bit, from a
// record's start on.
func rewriteRealLog(t *testing.T, file string) {
	t.Helper()
	log := makeRealLog(t, map[string]string{"wal_compression": "lz4"}, smallLoad(t))
	var start wal.LSN
	decodeAll(t, log.start, log.bytes, len(log.bytes), func(r *pgwal.Record) {
		if start == 0 && r.LSN+2*pgwal.WALPageSize > log.end {
			start = r.LSN
		}
	})
	require.NoError(t, os.MkdirAll("testdata", 0o755))
	require.NoError(t, os.WriteFile(file, log.bytes[start-log.start:], 0o644))
	require.NoError(t, os.WriteFile("testdata/real.lsn", []byte(start.String()+"\n"), 0o644))
}
