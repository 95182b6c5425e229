package pgdata

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVersions(t *testing.T) {
	version, err := parseVersion("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n")
	require.NoError(t, err)
	require.Equal(t, "15.18", version)
	for text, complaint := range map[string]string{
		"postgres (PostgreSQL) 16.1\n":    "want PostgreSQL 15, got 16.1",
		"postgres (PostgreSQL) 15devel\n": "want the version of a released PostgreSQL 15",
		"":                                "want the version of a released PostgreSQL 15",
	} {
		_, err := parseVersion(text)
		require.ErrorContains(t, err, complaint, "%q", text)
	}
}

func TestMissingPostgresIsNamedWithItsFix(t *testing.T) {
	_, err := FindBinaries(t.Context(), "/nowhere")
	require.ErrorContains(t, err, "/nowhere")
	require.ErrorContains(t, err, "install Debian's postgresql-15, or set VARVE_PG_BIN")
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "postgres"), []byte("#!/bin/sh\necho 'postgres (PostgreSQL) 14.9'\n"), 0o755))
	t.Setenv(BinDirVariable, dir)
	_, err = FindBinaries(t.Context(), "")
	require.ErrorContains(t, err, "want PostgreSQL 15, got 14.9: set VARVE_PG_BIN")
}

func TestConfQuotes(t *testing.T) {
	require.Equal(t, `'it''s \\ \n'`, quoteValue("it's \\ \n"))
	require.Equal(t, `"/a b/""c"`, quoteListItem(`/a b/"c`))
	s := Settings{Port: 1, SocketDir: "/a", Floors: Floors{MaxConnections: 500, TrackCommitTimestamp: true}}
	require.Contains(t, string(s.Conf()), "unix_socket_directories = '\"/a\"'\n")
	require.Contains(t, string(s.Conf()), "max_connections = '500'\n")
	require.Contains(t, string(s.Conf()), "max_worker_processes = '8'\n")
	require.Contains(t, string(s.Conf()), "track_commit_timestamp = 'on'\n")
}
