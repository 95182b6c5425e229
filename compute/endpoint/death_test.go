package endpoint

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal/env/osenv"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
)

// childVariable makes this test binary an endpoint: it holds its configuration.
const childVariable = "VARVE_TEST_ENDPOINT"

// TestEndpointProcess is the endpoint of TestPostgresDiesWithItsEndpoint, no test.
func TestEndpointProcess(t *testing.T) {
	text := os.Getenv(childVariable)
	if text == "" {
		t.Skip("runs only as another test's child")
	}
	var cfg Config
	require.NoError(t, json.Unmarshal([]byte(text), &cfg))
	e, err := osenv.New(osenv.Config{Root: t.TempDir()})
	require.NoError(t, err)
	require.NoError(t, Run(t.Context(), e, cfg, Events{Ready: func(Ready) { fmt.Println("ready") }}))
}

func TestPostgresDiesWithItsEndpoint(t *testing.T) {
	w := newWorld(t, 0)
	s := pgtest.Init(t, pgtest.Options{})
	b := w.importBranch(t, s)
	cfg := Config{Dir: filepath.Join(w.dir, "past"), Identity: b.id, At: b.id.Start, Pageserver: w.pageserver, SocketDir: s.Dir}
	text, err := json.Marshal(cfg)
	require.NoError(t, err)
	child := exec.Command(os.Args[0], "-test.run", "^TestEndpointProcess$")
	child.Env = append(os.Environ(), childVariable+"="+string(text))
	output, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	line, err := bufio.NewReader(output).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)

	client := connect(t, s.ConnString())
	require.NoError(t, child.Process.Kill())
	require.Error(t, child.Wait())
	// Nobody but the server can end this.
	_, err = client.WaitForNotification(t.Context())
	require.Error(t, err)

	// What is left of it does not keep the next life from starting.
	r := b.start(t, s, "past", b.id.Start)
	require.Equal(t, "1", s.SQL(t, "SELECT 1"))
	r.stop()
	require.NoError(t, r.wait())
}
