package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/compute/control"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
)

// TestWhoeverTheSuperuserIs: nothing depends on a role's name, and who locks everybody
// out is told the way back.
func TestWhoeverTheSuperuserIs(t *testing.T) {
	s := newStack(t)
	s.ok("up", "--safekeepers", "1")
	theirs := pgtest.Init(t, pgtest.Options{Initdb: []string{"-U", "alice"}})
	class := filepath.Join(theirs.DataDir, "base", "5", "1259")
	require.NoError(t, os.Rename(class, class+".away"))
	s.failed(lastLine(s.run("import", theirs.DataDir, "--branch", "theirs")), control.CodeFailed, "base/5/1259", "want one, got none")
	require.NoError(t, os.Rename(class+".away", class))
	s.ok("import", theirs.DataDir, "--branch", "theirs")
	url := s.ok("endpoint", "start", "theirs")
	require.Contains(t, url, "postgresql://alice@")
	require.Equal(t, "alice", s.sql("theirs", "SELECT current_user"))

	// The old name is that of another role, who may not.
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	for _, statement := range []string{
		"CREATE ROLE boss SUPERUSER LOGIN", "SET SESSION AUTHORIZATION boss", `ALTER ROLE alice RENAME TO "bob's"`, "CREATE ROLE alice LOGIN",
		"RESET SESSION AUTHORIZATION", "ALTER ROLE boss NOLOGIN", "CREATE TABLE t AS SELECT 1 AS a",
	} {
		_, err = conn.Exec(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	before := s.ok("lsn", "theirs")
	require.NoError(t, conn.Close(t.Context()))
	s.ok("endpoint", "stop", "theirs")
	require.Contains(t, s.ok("endpoint", "start", "theirs"), "postgresql://bob%27s@")
	require.Equal(t, "bob's", s.sql("theirs", "SELECT current_user"))
	require.Equal(t, "bob's", s.sql("theirs@"+before, "SELECT current_user"))

	s.sql("theirs", `ALTER ROLE "bob's" NOLOGIN`)
	s.ok("endpoint", "stop", "theirs")
	locked := lastLine(s.run("endpoint", "start", "theirs"))
	s.failed(locked, control.CodeFailed, "no role may log in and stream the log")
	fix := regexp.MustCompile("`varve (branch create NAME --parent BRANCH@TIME)`").FindStringSubmatch(locked.stderr)
	require.NotNil(t, fix, locked.stderr)
	s.ok(strings.Fields(strings.NewReplacer("NAME", "fixed", "BRANCH@TIME", "theirs@"+before).Replace(fix[1]))...)
	s.ok("endpoint", "start", "fixed")
	require.Equal(t, "1", s.sql("fixed", "SELECT a FROM t"))

	// Such a directory has no earlier time to go back to.
	single := theirs.Command("postgres", "--single", "-D", theirs.DataDir, "postgres")
	single.Stdin = strings.NewReader("ALTER ROLE alice NOLOGIN\nVACUUM FULL pg_authid\n")
	out, err := single.CombinedOutput()
	require.NoError(t, err, string(out))
	s.failed(lastLine(s.run("import", theirs.DataDir, "--branch", "locked")), control.CodeConflict, "no role there may log in", "postgres --single")
}
