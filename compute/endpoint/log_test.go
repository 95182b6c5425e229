package endpoint

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/env/osenv"
	"github.com/varvedb/varve/wal/frame"
	"github.com/varvedb/varve/wal/proposer"
	"github.com/varvedb/varve/wal/quorum"
	"github.com/varvedb/varve/wal/safekeeper"
	"github.com/varvedb/varve/wal/walapi"
)

// world is a directory with a bucket and running safekeepers.
type world struct {
	env.Env
	dir         string
	safekeepers []proposer.Safekeeper
	groups      []env.Group
	pageserver  string // address
	client      *pageapi.Client
	children    byte // branches made so far
}

// newWorld starts n safekeepers in dir, in this process, on unix sockets.
func newWorld(t *testing.T, n int) *world {
	t.Helper()
	// Short, for sockets, and open to user postgres.
	dir, err := os.MkdirTemp("", "ep")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	e, err := osenv.New(osenv.Config{Root: filepath.Join(dir, "root"), Bucket: filepath.Join(dir, "bucket")})
	require.NoError(t, err)
	w := &world{Env: e, dir: dir}
	for i := range n {
		id := wal.NodeID(i + 1)
		w.safekeepers = append(w.safekeepers, proposer.Safekeeper{ID: id, Addr: fmt.Sprintf("unix:%s/sk%d", dir, id)})
		w.groups = append(w.groups, nil)
		w.startSafekeeper(t, i)
	}
	t.Cleanup(func() {
		for i := range w.groups {
			w.stopSafekeeper(t, i)
		}
	})
	return w
}

func (w *world) startSafekeeper(t *testing.T, i int) {
	t.Helper()
	id := w.safekeepers[i].ID
	s := safekeeper.New(w.Env, safekeeper.Config{ID: id, Dir: w.safekeeperDir(i), Listen: w.safekeepers[i].Addr})
	w.groups[i] = w.Tasks.NewGroup(context.WithoutCancel(t.Context()))
	// The context of a test ends before what it started is cleaned up.
	w.groups[i].Go("safekeeper", s.Run)
	_, err := s.Ready(t.Context())
	require.NoError(t, err)
}

func (w *world) safekeeperDir(i int) string { return fmt.Sprintf("safekeeper%d", i+1) }

func (w *world) stopSafekeeper(t *testing.T, i int) {
	t.Helper()
	if w.groups[i] != nil {
		w.groups[i].Stop()
		require.NoError(t, w.groups[i].Wait())
		w.groups[i] = nil
	}
}

func testIdentity() quorum.Identity {
	return quorum.Identity{Tenant: wal.TenantID{1}, Timeline: wal.TimelineID{2}, SystemID: 3, PGVersion: 15, Start: 0x1500000}
}

func TestLogIsMadeOnceAndNeverAgain(t *testing.T) {
	w := newWorld(t, 3)
	id := testIdentity()
	w.stopSafekeeper(t, 2)
	require.ErrorContains(t, EnsureLog(t.Context(), w.Env, id, w.safekeepers), "make the log on safekeeper 3, which the first start needs")
	w.startSafekeeper(t, 2)
	require.NoError(t, EnsureLog(t.Context(), w.Env, id, w.safekeepers))
	w.stopSafekeeper(t, 2)
	require.NoError(t, EnsureLog(t.Context(), w.Env, id, w.safekeepers), "a later start needs nobody")

	// A safekeeper that lost everything is not given an empty log.
	require.NoError(t, os.RemoveAll(filepath.Join(w.dir, "root", w.safekeeperDir(2))))
	w.startSafekeeper(t, 2)
	require.NoError(t, EnsureLog(t.Context(), w.Env, id, w.safekeepers))
	client, err := walapi.Dial(t.Context(), w.Env, w.safekeepers[2].Addr)
	require.NoError(t, err)
	_, err = client.Status(t.Context(), id.Timeline)
	require.Equal(t, frame.Code(walapi.CodeNoTimeline), frame.CodeOf(err))
	require.NoError(t, client.Close())

	id.Start += 8
	require.ErrorContains(t, EnsureLog(t.Context(), w.Env, id, w.safekeepers), "the log was made as")
}

func TestLogObjectBytes(t *testing.T) {
	id := quorum.Identity{Tenant: wal.TenantID{0xaa}, Timeline: wal.TimelineID{0xbb}, SystemID: 0x0102030405060708, PGVersion: 15, Start: 0x1122334455667788}
	golden := "564c4f47" + "01000000" + "aa" + strings.Repeat("00", 15) + "bb" + strings.Repeat("00", 15) +
		"0807060504030201" + "0f000000" + "8877665544332211"
	object := appendLogObject(nil, id)
	require.Equal(t, golden, hex.EncodeToString(object[:logObjectSize-4]))
	decoded, err := decodeLogObject("key", object)
	require.NoError(t, err)
	require.Equal(t, id, decoded)
	for i := range object {
		object[i] ^= 1
		_, err := decodeLogObject("key", object)
		require.ErrorIs(t, err, wal.ErrCorruption)
		object[i] ^= 1
	}
}

func FuzzDecodeLogObject(f *testing.F) {
	f.Add(appendLogObject(nil, testIdentity()))
	f.Fuzz(func(t *testing.T, src []byte) {
		id, err := decodeLogObject("key", src)
		if err == nil {
			require.Equal(t, src, appendLogObject(nil, id))
		} else if !errors.Is(err, wal.ErrCorruption) {
			require.ErrorContains(t, err, "version")
		}
	})
}
