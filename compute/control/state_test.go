package control

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStateSurvivesAndIsNotWrittenByReading(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.db")
	s, err := openState(path)
	require.NoError(t, err)
	_, found, err := s.project()
	require.NoError(t, err)
	require.False(t, found)
	want := project{Safekeepers: 3, Bootstrapping: true}
	want.Tenant[0] = 7
	require.NoError(t, s.setProject(want))
	require.NoError(t, s.setEndpoint("main", endpointRecord{Port: 5433}))
	require.NoError(t, s.setEndpoint("other", endpointRecord{Port: 5434}))
	require.NoError(t, s.deleteEndpoint("other"))
	require.NoError(t, s.Close())
	written, err := os.ReadFile(path)
	require.NoError(t, err)

	s, err = openState(path)
	require.NoError(t, err)
	got, found, err := s.project()
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, want, got)
	record, found, err := s.endpoint("main")
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, endpointRecord{Port: 5433}, record)
	_, found, err = s.endpoint("other")
	require.NoError(t, err)
	require.False(t, found)

	_, err = openState(path)
	require.Equal(t, CodeConflict, CodeOf(err))
	require.ErrorContains(t, err, "`varve status`")
	require.NoError(t, s.Close())
	again, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, written, again)
}

// TestADamagedStateFileIsNamed, with what to do.
func TestADamagedStateFileIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.db")
	require.NoError(t, os.WriteFile(path, make([]byte, 64<<10), 0o600))
	_, err := openState(path)
	require.ErrorContains(t, err, path+" is damaged")
	require.ErrorContains(t, err, "move it away: the next `varve up`")
}

func TestShellWord(t *testing.T) {
	require.Equal(t, "/var/lib/varve-1", shellWord("/var/lib/varve-1"))
	require.Equal(t, `'/tmp/a b'`, shellWord("/tmp/a b"))
	require.Equal(t, `'it'\''s'`, shellWord("it's"))
	require.Equal(t, `''`, shellWord(""))
}
