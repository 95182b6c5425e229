package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/compute/control"
	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/wal"
)

func TestInspectIndexSaysWhatAFileIsNot(t *testing.T) {
	for _, c := range []struct {
		name, body string
		code       control.Code
		says       string
	}{
		{"layer", "varveLYR and more of it, as long as the header of an index is, and its checksum", control.CodeUsage, "is a layer and no index: see `varve inspect layer`"},
		{"text", "some text", control.CodeFailed, "is no index, or its beginning is damaged"},
		{"empty", "", control.CodeFailed, "is no index, or its beginning is damaged"},
	} {
		path := filepath.Join(t.TempDir(), c.name)
		require.NoError(t, os.WriteFile(path, []byte(c.body), 0o600))
		_, err := readIndex(path)
		require.ErrorContains(t, err, c.says)
		require.Equal(t, c.code, control.CodeOf(err))
	}
}

func TestInspectIndexTellsStatesApart(t *testing.T) {
	for state, says := range map[manifest.State]string{manifest.Live: "live", manifest.Deleting: "deleting", manifest.Doomed: "doomed"} {
		require.Equal(t, says, newIndexView(&manifest.Index{Head: manifest.Head{State: state}}).State)
	}
}

// TestInspectIndexTellsTheWholeIndex: beside the layers, what the collection of history goes by.
func TestInspectIndexTellsTheWholeIndex(t *testing.T) {
	id := layer.ID{Kind: layer.Delta, LSNHi: 0x20, Number: 7}
	body, err := json.Marshal(newIndexView(&manifest.Index{
		Layers: []layer.Desc{{ID: id, Level: 2}}, Dead: []layer.ID{id},
		Leases: []manifest.Lease{{ID: manifest.LeaseID{0xab}, LSN: 0x18, End: 60}},
		Marks:  []manifest.Mark{{Time: 120, LSN: 0x20}}, Pins: []wal.LSN{0x10, 0x18}, Head: manifest.Head{PinsGone: true},
	}))
	require.NoError(t, err)
	var told map[string]any
	require.NoError(t, json.Unmarshal(body, &told))
	require.EqualValues(t, 2, told["layers"].([]any)[0].(map[string]any)["level"])
	require.Equal(t, id.Name(), told["layers"].([]any)[0].(map[string]any)["name"])
	require.Equal(t, []any{id.Name()}, told["dead_layers"])
	require.Equal(t, []any{map[string]any{"id": "ab000000000000000000000000000000", "lsn": "0/18", "until": "1970-01-01T00:01:00Z"}}, told["leases"])
	require.Equal(t, []any{map[string]any{"time": "1970-01-01T00:02:00Z", "lsn": "0/20"}}, told["marks"])
	require.Equal(t, []any{"0/10", "0/18"}, told["pins"])
	require.Equal(t, true, told["pins_gone"])
}

// TestInspectMapGoesRoundADamagedBranch: the branch with a sound index is drawn, the one without
// is named.
func TestInspectMapGoesRoundADamagedBranch(t *testing.T) {
	timelines := t.TempDir()
	write := func(parent, id wal.TimelineID, at wal.LSN, name string) string {
		below := "root"
		if !parent.IsZero() {
			below = parent.String()
		}
		path := filepath.Join(timelines, below, id.String(), "index")
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		x := manifest.Index{Head: manifest.Head{Timeline: id, Parent: parent, BranchLSN: at, Start: at, Cutoff: at, Durable: at}, Meta: []byte(`{"name":"` + name + `"}`)}
		require.NoError(t, os.WriteFile(path, x.AppendTo(nil), 0o600))
		return path
	}
	main := write(wal.TimelineID{}, wal.TimelineID{1}, 0, "main")
	write(wal.TimelineID{1}, wal.TimelineID{2}, 0x18, "sound")
	bad := write(wal.TimelineID{1}, wal.TimelineID{3}, 0x20, "damaged")
	body, err := os.ReadFile(bad)
	require.NoError(t, err)
	body[100] ^= 1
	require.NoError(t, os.WriteFile(bad, body, 0o600))
	index, err := readIndex(main)
	require.NoError(t, err)
	pins, damage, err := mapPins(main, index)
	require.NoError(t, err)
	require.Equal(t, []mapPin{{0x18, "branch sound"}}, pins)
	require.ErrorIs(t, damage, wal.ErrCorruption)
	require.ErrorContains(t, damage, bad)
}
