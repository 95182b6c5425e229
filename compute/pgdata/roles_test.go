package pgdata

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
)

// TestStreamRoles reads them from the directories that PostgreSQL leaves.
func TestStreamRoles(t *testing.T) {
	s := pgtest.Init(t, pgtest.Options{})
	roles := func() []string {
		t.Helper()
		names, err := StreamRoles(s.DataDir)
		require.NoError(t, err)
		return names
	}
	require.Equal(t, []string{"postgres"}, roles())
	s.Up(t)
	s.SQL(t, `CREATE ROLE plain LOGIN; CREATE ROLE copier LOGIN REPLICATION; CREATE ROLE "it's" LOGIN SUPERUSER;
		CREATE ROLE locked SUPERUSER; VACUUM FULL pg_authid`)
	s.Stop(t, pgtest.Fast)
	require.Equal(t, []string{"postgres", "it's", "copier"}, roles())
	s.Up(t)
	s.SQL(t, `SET SESSION AUTHORIZATION "it's"; ALTER ROLE postgres RENAME TO old`)
	s.Stop(t, pgtest.Fast)
	require.Equal(t, []string{"old", "it's", "copier", "postgres"}, roles(), "what may be gone comes last")

	path := filepath.Join(s.DataDir, "global", "pg_filenode.map")
	body, err := os.ReadFile(path)
	require.NoError(t, err)
	body[20] ^= 1
	require.NoError(t, os.WriteFile(path, body, 0o600))
	_, err = StreamRoles(s.DataDir)
	require.ErrorIs(t, err, wal.ErrCorruption)
}

// FuzzRolesOfPage: no page makes it panic.
func FuzzRolesOfPage(f *testing.F) {
	page := make([]byte, 8192)
	page[12], page[13] = 0xff, 0xff
	page[24], page[26], page[27] = 0xf0, 0x80, 0x9f
	f.Add(page)
	f.Fuzz(func(t *testing.T, body []byte) {
		page := make([]byte, 8192)
		copy(page, body)
		for _, r := range rolesOf(page) {
			require.LessOrEqual(t, len(r.name), nameSize)
		}
	})
}
