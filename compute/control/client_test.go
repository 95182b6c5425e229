package control

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/pageserver/timeline"
)

// serve answers every request to the client's supervisor by h.
func serve(t *testing.T, h http.Handler) *Client {
	t.Helper()
	// Not t.TempDir, whose path may be too long for a socket.
	dir, err := os.MkdirTemp("", "control")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Mkdir(filepath.Join(dir, "run"), 0o755))
	l, err := listen(SocketPath(dir))
	require.NoError(t, err)
	server := &http.Server{Handler: h}
	served := make(chan error)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-served, http.ErrServerClosed)
	})
	return NewClient(dir)
}

func TestErrorsCrossTheAPIWithTheirCodes(t *testing.T) {
	for code := range httpStatus {
		want := Errorf(code, "it went wrong: do this")
		client := serve(t, answer(func(*http.Request) (any, error) { return nil, want }))
		_, err := client.Status(t.Context())
		require.Equal(t, want, err)
		require.Equal(t, code, CodeOf(err))
	}
	client := serve(t, answer(func(*http.Request) (any, error) { return nil, os.ErrClosed }))
	_, err := client.Branches(t.Context())
	require.Equal(t, Errorf(CodeFailed, "%v", os.ErrClosed), err, "an error without a code is a failure")
}

func TestAnswersThatAreNoneOfOurs(t *testing.T) {
	client := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusTeapot) }))
	_, err := client.Resolve(t.Context(), "main")
	require.ErrorContains(t, err, "the supervisor answered 418")
	client = serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }))
	_, err = client.Resolve(t.Context(), "main")
	require.ErrorContains(t, err, "read the supervisor's answer to GET")
	client = serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	_, err = client.CreateBranch(t.Context(), "b", "main")
	require.ErrorContains(t, err, "ask the supervisor")
	require.Equal(t, CodeFailed, CodeOf(err))
}

func TestStepsOfAStartAreTold(t *testing.T) {
	var events []startEvent
	client := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for _, e := range events {
			require.NoError(t, json.NewEncoder(w).Encode(e))
		}
	}))
	var told []string
	start := func() (EndpointStatus, error) {
		told = nil
		return client.StartEndpoint(t.Context(), "main", 0, func(step string) { told = append(told, step) })
	}
	events = []startEvent{{Step: "one"}, {Step: "two"}, {Endpoint: &EndpointStatus{ID: "main"}}}
	status, err := start()
	require.NoError(t, err)
	require.Equal(t, "main", status.ID)
	require.Equal(t, []string{"one", "two"}, told)

	events = []startEvent{{Step: "one"}, {Failed: Errorf(CodeTimeout, "it took too long")}}
	_, err = start()
	require.Equal(t, Errorf(CodeTimeout, "it took too long"), err)
	require.Equal(t, []string{"one"}, told)

	events = events[:1]
	_, err = start()
	require.ErrorContains(t, err, "read the supervisor's answer to POST", "a supervisor that dies is no success")
}

func TestNobodyListens(t *testing.T) {
	dir := t.TempDir()
	err := NewClient(dir).DeleteBranch(t.Context(), "b")
	require.Equal(t, Errorf(CodeNotFound, "no varve runs in %s: start it with `varve up --dir %s`", dir, dir), err)
}

func TestRequestsAreRead(t *testing.T) {
	client := serve(t, handler(&Supervisor{}))
	for _, body := range []any{map[string]any{"name": 1}, map[string]any{"nome": "b"}, "b", map[string]string{"name": string(make([]byte, bodyMax))}} {
		err := client.do(t.Context(), http.MethodPost, "/v1/branches", body, nil)
		require.Equal(t, CodeUsage, CodeOf(err), "%v", err)
	}
	_, err := client.CreateBranch(t.Context(), "B", "main")
	require.Equal(t, ValidateName("B"), err)
	_, err = client.Import(t.Context(), "not/absolute", "b")
	require.Equal(t, CodeUsage, CodeOf(err))
}

func TestCodesOfTheStorage(t *testing.T) {
	for err, code := range map[error]Code{
		lsm.ErrNoTimeline: CodeNotFound, timeline.ErrBeforeHistory: CodeNotFound, pageapi.ErrRefused: CodeConflict, os.ErrClosed: CodeFailed,
	} {
		coded := Coded(&pageapi.Error{Kind: err, Text: "why"})
		require.Equal(t, code, CodeOf(coded))
		require.ErrorIs(t, coded, err)
		require.EqualError(t, coded, "why")
	}
	require.NoError(t, Coded(nil))
}
