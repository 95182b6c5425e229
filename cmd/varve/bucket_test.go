package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/compute/control"
	"github.com/varvedb/varve/wal/env/s3/s3test"
)

// TestBucketOnS3: the whole thing with its bucket on a real S3 server, which is all that
// it needs to serve again, beside the log.
func TestBucketOnS3(t *testing.T) {
	server := s3test.Start(t)
	location := server.Location("some/where")
	s := newStack(t)
	s.ok("up", "--bucket", location)
	require.NoDirExists(t, filepath.Join(s.dir, "bucket"))
	require.Regexp(t, `(?m)^bucket +- +- +`+strings.ReplaceAll(location, "?", `\?`)+"$", s.ok("status"))
	status := asJSON[control.Status](s, "status")
	require.Equal(t, location, status.Bucket)
	s.requireSecretKept(status)

	s.sql("main", "CREATE TABLE t AS SELECT generate_series(1, 1000) AS a")
	s.ok("branch", "create", "child")
	s.ok("endpoint", "start", "child")
	s.sql("child", "INSERT INTO t VALUES (1001)")
	s.sql("main", "DELETE FROM t WHERE a > 500")
	s.ok("down")
	require.NoError(t, os.RemoveAll(filepath.Join(s.dir, "pageserver")))

	// It is remembered, and cannot be changed.
	before := s.files("control.db", "run/*", "endpoints/*")
	s.fails(control.CodeConflict, []string{"is in the bucket " + location, "not in " + filepath.Join(s.dir, "other") + ": leave out --bucket"}, "up", "--bucket", filepath.Join(s.dir, "other"))
	s.fails(control.CodeConflict, []string{"leave out --bucket"}, "up", "--bucket", server.Location("elsewhere"))
	require.Equal(t, before, s.files("control.db", "run/*", "endpoints/*"))
	require.NoDirExists(t, filepath.Join(s.dir, "other"))
	s.ok("up")
	require.Equal(t, "500", s.sql("main", "SELECT count(*) FROM t"))
	s.ok("endpoint", "start", "child")
	require.Equal(t, "1001", s.sql("child", "SELECT count(*) FROM t"))
	s.ok("down")
	s.ok("up", "--bucket", location+"&") // the same by another name
	require.Empty(t, asJSON[control.ScrubReport](s, "scrub").Flaws)
}

// requireSecretKept looks for the credentials where others could see them.
func (s stack) requireSecretKept(status control.Status) {
	s.Helper()
	secret := os.Getenv("AWS_SECRET_ACCESS_KEY")
	require.NotEmpty(s, secret)
	looked := 0
	for _, path := range below(s.T, s.dir) {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			body, err := os.ReadFile(path)
			require.NoError(s, err)
			require.NotContains(s, string(body), secret, path)
			looked++
		}
	}
	require.Greater(s, looked, 100)
	pids := []int{status.PID}
	for _, p := range status.Processes {
		pids = append(pids, p.PID)
	}
	for _, pid := range pids {
		body, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		require.NoError(s, err)
		require.NotEmpty(s, body)
		require.NotContains(s, string(body), secret)
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", status.Branches[0].Endpoint.PID))
	require.NoError(s, err)
	require.NotContains(s, string(environ), secret, "the environment of Postgres")
}

// careless is an S3 server that takes every write.
func careless(t *testing.T) (location string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"1"`)
		w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
	}))
	t.Cleanup(server.Close)
	return "s3://varve?endpoint=" + server.URL
}

// TestBucketsThatWillNotDo: `up` says what is wrong and what to do, starts nothing, and
// remembers nothing of it.
func TestBucketsThatWillNotDo(t *testing.T) {
	server := s3test.Start(t)
	s := newStack(t)
	location := server.Location("p")
	away := httptest.NewServer(nil)
	away.Close()
	for _, c := range []struct {
		name, bucket string
		env          []string
		code         control.Code
		mentions     []string
	}{
		{"no server", "s3://varve?endpoint=" + away.URL, nil, control.CodeFailed, []string{"no S3 server answers: dial tcp", "connection refused: start it, or correct the endpoint"}},
		{"no bucket", strings.Replace(location, "//varve", "//nobody", 1), nil, control.CodeFailed, []string{"bucket s3://nobody/p?", "the server has no such bucket", "make it there first"}},
		{"wrong secret", location, []string{"AWS_SECRET_ACCESS_KEY=wrong"}, control.CodeFailed, []string{"the server refuses the credentials", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"}},
		{"unknown user", location, []string{"AWS_ACCESS_KEY_ID=wrong"}, control.CodeFailed, []string{"the server refuses the credentials", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"}},
		{"no conditions", careless(t), nil, control.CodeFailed, []string{"ignores the conditions of writes", "it took creating an object that exists", "keep it on a server with conditional writes"}},
		{"a secret in it", "s3://key:hidden@varve", nil, control.CodeUsage, []string{"credentials do not belong into it"}},
		{"another scheme", "gs://varve", nil, control.CodeUsage, []string{"want a directory, or s3://BUCKET"}},
		{"no name", "s3://", nil, control.CodeUsage, []string{"no bucket: want s3://BUCKET"}},
		{"nothing", "", nil, control.CodeUsage, []string{"--bucket is empty"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := stack{t, s.dir}
			cmd := s.command("up", "--safekeepers", "1", "--bucket", c.bucket)
			cmd.Env = append(cmd.Env, c.env...)
			r := finish(t, cmd)
			require.NotContains(t, r.stderr, "hidden")
			require.NotContains(t, r.stderr, "starting")
			s.failed(lastLine(r), c.code, c.mentions...)
		})
	}
	s.requireGone()
	// Nothing of all that is remembered.
	elsewhere := filepath.Join(filepath.Dir(s.dir), "bucket")
	s.ok("up", "--safekeepers", "1", "--bucket", elsewhere)
	require.NotEmpty(t, below(t, elsewhere)[1:])
	require.Equal(t, elsewhere, asJSON[control.Status](s, "status").Bucket)
	s.ok("down")
	s.ok("up")
	require.Equal(t, "1", s.sql("main", "SELECT 1"))
}

// TestStatusWithoutItsBucket: what runs is known without it, and stops without it.
func TestStatusWithoutItsBucket(t *testing.T) {
	server := s3test.Start(t)
	s := newStack(t)
	url := s.ok("up", "--safekeepers", "1", "--bucket", server.Location("p"))
	server.Stop()
	status := s.ok("status")
	require.Regexp(t, `(?m)^bucket +unreachable +- +bucket s3://varve/p\?.*: no S3 server answers: .*connection refused: start it`, status)
	require.Regexp(t, `(?m)^endpoint main +running +\d+ +`+url+"$", status)
	require.Regexp(t, `(?m)^pageserver +running`, status)
	s.failed(s.run("scrub"), control.CodeFailed, "no S3 server answers")
	s.ok("down")
	s.requireGone()
}
