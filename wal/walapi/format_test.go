package walapi

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/quorum"
)

var (
	identity = quorum.Identity{
		Tenant: wal.TenantID{0x11, 15: 0x12}, Timeline: wal.TimelineID{0x21, 15: 0x22},
		SystemID: 0x0102030405060708, PGVersion: 15, Start: 0x1000028,
	}
	status = TimelineStatus{
		Identity: identity, Node: 3, Standing: quorum.Admitted, Term: 9,
		Flush: 0x2000000, Commit: 0x1F00000, Readable: 0x1F00000,
		History: quorum.TermHistory{{Term: 0, LSN: 0x1000028}, {Term: 9, LSN: 0x1800000}},
	}
	request = ReadRequest{Timeline: identity.Timeline, Term: 9, Begin: 0x1800000, BytesMax: 4096, Wait: 1500 * time.Millisecond}
	chunk   = Chunk{Begin: 0x1800000, Limit: 0x1F00000, Bytes: []byte("a piece of log")}
	list    = []wal.TimelineID{{1}, {2, 15: 9}}
)

// payloads are one of each, with what decodes and encodes again.
func payloads() map[string]struct {
	bytes []byte
	again func([]byte) ([]byte, error)
} {
	type payload = struct {
		bytes []byte
		again func([]byte) ([]byte, error)
	}
	return map[string]payload{
		"create": {appendIdentity(nil, identity), func(b []byte) ([]byte, error) {
			m, err := DecodeCreate(b)
			return appendIdentity(nil, m), err
		}},
		"status-request": {appendTimeline(nil, identity.Timeline), func(b []byte) ([]byte, error) {
			m, err := DecodeTimeline(b)
			return appendTimeline(nil, m), err
		}},
		"read": {request.AppendTo(nil), func(b []byte) ([]byte, error) {
			m, err := DecodeRead(b)
			return m.AppendTo(nil), err
		}},
		"status": {status.AppendTo(nil), func(b []byte) ([]byte, error) {
			m, err := DecodeStatus(b)
			return m.AppendTo(nil), err
		}},
		"list": {appendTimelines(nil, list), func(b []byte) ([]byte, error) {
			m, err := DecodeTimelines(b)
			return appendTimelines(nil, m), err
		}},
		"chunk": {chunk.AppendTo(nil), func(b []byte) ([]byte, error) {
			m, err := DecodeChunk(b)
			return m.AppendTo(nil), err
		}},
	}
}

// The layout on the wire is what testdata says, for ever.
func TestGolden(t *testing.T) {
	golden, err := os.ReadFile("testdata/payloads.hex")
	require.NoError(t, err)
	all := payloads()
	lines := strings.Split(strings.TrimSpace(string(golden)), "\n")
	require.Len(t, lines, len(all))
	for _, line := range lines {
		name, want, _ := strings.Cut(line, " ")
		require.Equal(t, want, hex.EncodeToString(all[name].bytes), name)
	}
}

func TestRoundTrip(t *testing.T) {
	for name, p := range payloads() {
		again, err := p.again(p.bytes)
		require.NoError(t, err, name)
		require.Equal(t, p.bytes, again, name)
	}
	got, err := DecodeStatus(status.AppendTo(nil))
	require.NoError(t, err)
	require.Equal(t, status, got)
	read, err := DecodeRead(request.AppendTo(nil))
	require.NoError(t, err)
	require.Equal(t, request, read)
}

func TestShortAndLongPayloadsAreRefused(t *testing.T) {
	for name, p := range payloads() {
		_, err := p.again(append(p.bytes, make([]byte, 2*ReadBytesMax)...))
		require.ErrorIs(t, err, wal.ErrCorruption, name)
		_, err = p.again(p.bytes[:15])
		require.ErrorIs(t, err, wal.ErrCorruption, name)
	}
}

func FuzzPayloads(f *testing.F) {
	for _, p := range payloads() {
		f.Add(p.bytes)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, p := range payloads() {
			again, err := p.again(b)
			if err != nil {
				require.ErrorIs(t, err, wal.ErrCorruption, name)
				continue
			}
			require.Equal(t, b, again, name)
		}
	})
}
