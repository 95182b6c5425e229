package s3

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal/env"
)

func TestRetryAfterIsRead(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "-7": 0, "7.5": 0, "soon": 0, "99999999999999999999": 0,
		"Fri, 02 Jan 2026 03:04:25 GMT": 20 * time.Second, "Fri, 02 Jan 2026 03:04:04 GMT": 0,
	} {
		require.Equal(t, want, askedFor(header, now), "%q", header)
	}
}

// TestAServerThatAsksForPatienceGetsIt: neither the request that it said so to, nor another,
// is sent before its time.
func TestAServerThatAsksForPatienceGetsIt(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	var at []time.Time
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		at = append(at, time.Now())
		w.Header().Set("ETag", `"tag"`)
		if len(at) == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	b, err := Open("s3://bucket?endpoint=" + server.URL)
	require.NoError(t, err)
	_, err = b.Put(t.Context(), "a", []byte("body"), env.Condition{})
	require.NoError(t, err)
	require.Len(t, at, 2)
	require.GreaterOrEqual(t, at[1].Sub(at[0]), time.Second)

	p := &b.(*bucket).patience
	p.ask(time.Now().Add(200 * time.Millisecond))
	until := p.until
	p.ask(time.Now()) // who asks for less does not shorten it
	_, err = b.Put(t.Context(), "b", []byte("body"), env.Condition{})
	require.NoError(t, err)
	require.Len(t, at, 3)
	require.False(t, at[2].Before(until), "another request waits too")
}
