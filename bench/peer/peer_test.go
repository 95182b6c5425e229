package peer_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/bench/peer"
)

func TestPlainFilesAreWritten(t *testing.T) {
	p, err := peer.NewPlain(t.TempDir(), 3)
	require.NoError(t, err)
	one, err := p.Overwrite(t.Context(), 10, 8192)
	require.NoError(t, err)
	require.EqualValues(t, 10, one.Latency.Count())
	all, err := p.Quorum(t.Context(), 10, 8192, 2)
	require.NoError(t, err)
	require.EqualValues(t, 10, all.Latency.Count())
	streamed, err := p.Stream(t.Context(), 8<<20, 1<<20)
	require.NoError(t, err)
	require.Positive(t, streamed.Metrics["mib_per_s"])
	group := p.Group(8192, 2)
	var tasks sync.WaitGroup
	for range 20 {
		tasks.Go(func() { assert.NoError(t, group.Commit(t.Context())) })
	}
	tasks.Wait()
	group.Close()
	require.NoError(t, p.Close())
	broken := p.Group(8192, 2)
	require.Error(t, broken.Commit(t.Context()))
	broken.Close()
	_, err = p.Overwrite(t.Context(), 1, 8192)
	require.Error(t, err)
}

// script stands for the helper: it gives its answers whatever it is asked.
func script(t *testing.T, answers string) *peer.Helper {
	path := filepath.Join(t.TempDir(), "helper")
	text := "#!/bin/sh\nwhile read -r line; do\n" + answers + "\ndone\n"
	require.NoError(t, os.WriteFile(path, []byte(text), 0o755))
	h, err := peer.Start(path)
	require.NoError(t, err)
	return h
}

func TestTheHelperIsAsked(t *testing.T) {
	h := script(t, `case "$line" in *'"op":"put"'*'"bytes":8'*) echo '{"metrics":{"x":2},"ns_count":[1000,5]}';; *) echo '{"error":"no"}';; esac`)
	s, err := h.Do(t.Context(), "put", peer.Load{Bytes: 8})
	require.NoError(t, err)
	require.Equal(t, 2.0, s.Metrics["x"])
	require.EqualValues(t, 5, s.Latency.Count())
	_, err = h.Do(t.Context(), "get", peer.Load{})
	require.ErrorContains(t, err, "peers: get: no")
	require.NoError(t, h.Close())
	_, err = peer.Start("")
	require.ErrorIs(t, err, peer.ErrNone)
}
