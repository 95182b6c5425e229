package basebackup

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"

	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/wal"
)

// The progress of replication origins, as PostgreSQL keeps it in a file that each
// checkpoint writes anew; source: src/backend/replication/logical/origin.c.
//
//	0   magic 0x1257DADE (4)
//	    origins, 16 bytes each: id (2) | pad (6) | remote LSN (8)
//	end CRC-32C of all before (4)
const (
	originFile       = "pg_logical/replorigin_checkpoint"
	originMagic      = 0x1257DADE
	originEntryBytes = 16
	originFixedBytes = 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type origin struct {
	id     uint16
	remote wal.LSN
}

func appendOrigins(dst []byte, origins []origin) []byte {
	le, start := binary.LittleEndian, len(dst)
	dst = le.AppendUint32(dst, originMagic)
	for _, o := range origins {
		dst = le.AppendUint64(dst, uint64(o.id))
		dst = le.AppendUint64(dst, uint64(o.remote))
	}
	return le.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

func decodeOrigins(b []byte) ([]origin, error) {
	le := binary.LittleEndian
	if len(b) < originFixedBytes || (len(b)-originFixedBytes)%originEntryBytes != 0 {
		return nil, wal.Corruptf(originFile, 0, "length", "8 + 16n", len(b))
	}
	body, sum := b[:len(b)-4], le.Uint32(b[len(b)-4:])
	if want := crc32.Checksum(body, castagnoli); want != sum {
		return nil, wal.Corruptf(originFile, int64(len(body)), "checksum", want, sum)
	}
	if magic := le.Uint32(body); magic != originMagic {
		return nil, wal.Corruptf(originFile, 0, "magic", originMagic, magic)
	}
	var origins []origin
	for entry := body[4:]; len(entry) > 0; entry = entry[originEntryBytes:] {
		origins = append(origins, origin{le.Uint16(entry), wal.LSN(le.Uint64(entry[8:]))})
	}
	return origins, nil
}

// readOrigins reads the file of a directory; none means that there is no origin.
func readOrigins(fsys fs.FS) ([]origin, error) {
	b, err := fs.ReadFile(fsys, originFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read replication origins: %w", err)
	}
	return decodeOrigins(b)
}

// origins adds the file if there is an origin.
func (s *State) origins(ctx context.Context, src Source, at wal.LSN) error {
	var origins []origin
	var bad error
	lo, hi := pgkey.ReplOrigins()
	err := each(ctx, src, lo, hi, at, func(key pgkey.Parsed, value []byte) {
		v, err := pgkey.DecodeOrigin(value)
		bad = errors.Join(bad, err)
		origins = append(origins, origin{key.Origin, v.Remote})
	})
	if err = errors.Join(err, bad); err != nil || len(origins) == 0 {
		return err
	}
	s.add(originFile, fileMode, appendOrigins(nil, origins))
	return nil
}
