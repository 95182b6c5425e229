package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/compute/control"
	"github.com/varvedb/varve/lsm/manifest"
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
