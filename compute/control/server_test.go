package control

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAFailedRequestIsLogged: its client may have gone, and nobody hear the answer.
func TestAFailedRequestIsLogged(t *testing.T) {
	var log bytes.Buffer
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	ctx, leave := context.WithCancel(t.Context())
	server := httptest.NewServer(answer(func(r *http.Request) (any, error) {
		if r.Method == http.MethodPost {
			leave()
			<-r.Context().Done()
		}
		return nil, errors.New("no room")
	}))
	ask := func(method string) (*http.Response, error) {
		request, err := http.NewRequestWithContext(ctx, method, server.URL+"/v1/import", nil)
		require.NoError(t, err)
		return server.Client().Do(request)
	}
	answered, err := ask(http.MethodGet)
	require.NoError(t, err)
	require.NoError(t, answered.Body.Close())
	_, err = ask(http.MethodPost)
	require.ErrorIs(t, err, context.Canceled)
	server.Close() // when it has answered
	require.NotContains(t, log.String(), "GET", "what only looks changes nothing")
	require.Contains(t, log.String(), `msg="request failed" request="POST /v1/import" error="no room"`)
}
