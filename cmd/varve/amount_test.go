package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/compute/control"
)

func TestAmounts(t *testing.T) {
	for text, want := range map[string]time.Duration{"90m": 90 * time.Minute, "7d": 7 * day, "2w": 14 * day, "36h": 36 * time.Hour} {
		var s span
		require.NoError(t, s.Set(text), text)
		require.Equal(t, want, time.Duration(s), text)
		again := span(1)
		require.NoError(t, again.Set(s.String()), s.String())
		require.Equal(t, s, again)
	}
	for text, want := range map[string]int64{"1": 1, "1000B": 1000, "64MiB": 64 << 20, "2Gi": 2 << 30, "1KiB": 1 << 10, "3TiB": 3 << 40} {
		var n size
		require.NoError(t, n.Set(text), text)
		require.EqualValues(t, want, n, text)
		var again size
		require.NoError(t, again.Set(n.String()), n.String())
		require.Equal(t, n, again)
	}
	for _, text := range []string{"", "d", "-1d", "1y", "1.5d", "99999999999999d", "soon"} {
		require.Error(t, new(span).Set(text), text)
	}
	for _, text := range []string{"", "0", "-1", "1.5MiB", "MiB", "64MB", "99999999999TiB"} {
		require.Error(t, new(size).Set(text), text)
	}
	for text, want := range map[string]int64{"1s": 1, "7d": 7 * 24 * 60 * 60, forever: control.WindowForever} {
		var w control.Window
		h := history{&w}
		require.NoError(t, h.Set(text))
		require.Equal(t, want, w.Seconds)
		require.Equal(t, text, h.String())
	}
	require.Error(t, history{new(control.Window)}.Set("10ms"))
}
