package s3_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/env/envtest"
	"github.com/varvedb/varve/wal/env/osenv"
	"github.com/varvedb/varve/wal/env/s3"
	"github.com/varvedb/varve/wal/env/s3/s3test"
)

// counting counts the conditional writes that a bucket refuses.
type counting struct {
	env.Bucket
	refused *atomic.Int64
}

func (c counting) Put(ctx context.Context, key string, body []byte, cond env.Condition) (env.ETag, error) {
	tag, err := c.Bucket.Put(ctx, key, body, cond)
	if cond != (env.Condition{}) && err != nil {
		c.refused.Add(1)
	}
	return tag, err
}

func TestConformance(t *testing.T) {
	server := s3test.Start(t)
	var refused atomic.Int64
	worlds := 0
	envtest.RunBucket(t, envtest.World{Run: func(t *testing.T, body func(context.Context, env.Env)) {
		worlds++
		e, err := osenv.New(osenv.Config{
			Root:   filepath.Join(t.TempDir(), "disk"),
			Bucket: server.Location(fmt.Sprintf("world-%d", worlds)),
		})
		require.NoError(t, err)
		e.Bucket = counting{e.Bucket, &refused}
		body(t.Context(), e)
	}})
	t.Logf("conditional writes refused: %d", refused.Load())
	require.GreaterOrEqual(t, refused.Load(), int64(10))
}

func TestLocations(t *testing.T) {
	for _, bad := range []string{
		"", "bucket", "http://bucket", "s3://", "s3:///prefix", "s3://b/a//b", "s3://b/.hidden", "s3://key:secret@b",
		"s3://b?endpoint=127.0.0.1:80", "s3://b?endpoint=ftp://host", "s3://b?endpoint=http://host/path", "s3://b?color=red", "s3://b?endpoint=%zz",
	} {
		_, err := s3.Open(bad)
		require.ErrorContains(t, err, "s3://BUCKET[/PREFIX]", "%q", bad)
	}
	for _, good := range []string{"s3://b-b", "s3://bucket/a/b/", "s3://bucket?region=eu-west-1", "s3://bucket?endpoint=http://[::1]:80/"} {
		_, err := s3.Open(good)
		require.NoError(t, err, "%q", good)
	}
}

// TestLocationsAreWrittenOut: what is remembered must not depend on the environment.
func TestLocationsAreWrittenOut(t *testing.T) {
	t.Setenv("AWS_REGION", "eu-west-1")
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
	for text, want := range map[string]string{
		"s3://bucket":        "s3://bucket?endpoint=http://127.0.0.1:9&region=eu-west-1",
		"s3://bucket/a/b c/": "s3://bucket/a/b%20c?endpoint=http://127.0.0.1:9&region=eu-west-1",
		"s3://b?region=us-east-1&endpoint=https://[::1]:8/": "s3://b?endpoint=https://[::1]:8&region=us-east-1",
	} {
		got, err := s3.Canonical(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
		again, err := s3.Canonical(got)
		require.NoError(t, err)
		require.Equal(t, want, again)
	}
	for _, secret := range []string{"s3://key:hidden@b", "s3://b?endpoint=http://key:hidden@host"} {
		_, err := s3.Canonical(secret)
		require.ErrorContains(t, err, "AWS_SECRET_ACCESS_KEY")
		require.NotContains(t, err.Error(), "hidden")
	}
}

func TestTroubles(t *testing.T) {
	server := s3test.Start(t)
	put := func(location string) error {
		b, err := s3.Open(location)
		require.NoError(t, err)
		_, err = b.Put(t.Context(), "a", nil, env.IfAbsent())
		return err
	}
	location := server.Location("troubles")
	require.NoError(t, put(location))
	require.ErrorIs(t, put(strings.Replace(location, "s3://varve", "s3://nobody", 1)), s3.ErrNoBucket)
	for _, name := range []string{"AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"} {
		t.Setenv(name, "wrong")
		require.ErrorIs(t, put(location), s3.ErrDenied)
		b, err := s3.Open(location)
		require.NoError(t, err)
		_, _, err = b.Get(t.Context(), "a")
		require.ErrorIs(t, err, s3.ErrDenied)
		require.NotErrorIs(t, err, env.ErrNoObject, "who may not know does not know")
		_, err = b.Put(t.Context(), "a", nil, env.IfMatch("tag"))
		require.NotErrorIs(t, err, env.ErrPrecondition)
	}
	away := put("s3://bucket?endpoint=http://127.0.0.1:1")
	require.ErrorIs(t, away, s3.ErrAway)
	var trouble *s3.TroubleError
	require.ErrorAs(t, away, &trouble)
	require.EqualError(t, trouble, "no S3 server answers: dial tcp 127.0.0.1:1: connect: connection refused")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	b, err := s3.Open(location)
	require.NoError(t, err)
	_, _, err = b.Get(ended, "a")
	require.NotErrorIs(t, err, s3.ErrAway)
	require.ErrorIs(t, err, context.Canceled)
}

// untagged is a success whose answer names no content.
const untagged = -1

// answers starts a server that gives the answers in turn, the last one again and again,
// and returns a bucket on it and the number of requests it has had. An answer of 0 cuts
// the connection after the request was read.
func answers(t *testing.T, status ...int) (env.Bucket, *atomic.Int64) {
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	requests := new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := int(requests.Add(1)) - 1
		answer := status[min(n, len(status)-1)]
		if answer == 0 {
			panic(http.ErrAbortHandler)
		}
		if answer == untagged {
			answer = http.StatusOK
		} else {
			w.Header().Set("ETag", `"tag"`)
		}
		w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
		w.WriteHeader(answer)
	}))
	t.Cleanup(server.Close)
	b, err := s3.Open("s3://bucket?endpoint=" + server.URL)
	require.NoError(t, err)
	return b, requests
}

func TestOutcomesOfPut(t *testing.T) {
	for _, c := range []struct {
		name     string
		cond     env.Condition
		answers  []int
		requests int64
		failed   bool
		lost     bool // the race for the object
		unknown  bool
	}{
		{name: "success", answers: []int{200}, requests: 1},
		{name: "throttled, then success", answers: []int{503, 429, 200}, requests: 3},
		{name: "conflict, then success", cond: env.IfAbsent(), answers: []int{409, 200}, requests: 2},
		{name: "throttled for ever", answers: []int{503}, requests: 5, failed: true},
		{name: "lost race to create", cond: env.IfAbsent(), answers: []int{412}, requests: 1, failed: true, lost: true},
		{name: "lost race to replace", cond: env.IfMatch("t"), answers: []int{412}, requests: 1, failed: true, lost: true},
		{name: "replaced object is gone", cond: env.IfMatch("t"), answers: []int{404}, requests: 1, failed: true, lost: true},
		{name: "no such bucket", answers: []int{404}, requests: 1, failed: true},
		{name: "no rights", answers: []int{403}, requests: 1, failed: true},
		{name: "server failed", cond: env.IfAbsent(), answers: []int{500, 412}, requests: 1, failed: true, unknown: true},
		{name: "gateway gave up", answers: []int{504}, requests: 1, failed: true, unknown: true},
		{name: "content not named", cond: env.IfMatch("t"), answers: []int{untagged}, requests: 1, failed: true, unknown: true},
		{name: "connection lost", cond: env.IfMatch("t"), answers: []int{0, 412}, requests: 1, failed: true, unknown: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, requests := answers(t, c.answers...)
			_, err := b.Put(t.Context(), "a", []byte("body"), c.cond)
			require.Equal(t, c.failed, err != nil, "%v", err)
			require.Equal(t, c.unknown, env.IsUnknown(err), "%v", err)
			if c.lost {
				require.ErrorIs(t, err, env.ErrPrecondition)
			} else {
				require.NotErrorIs(t, err, env.ErrPrecondition)
			}
			require.Equal(t, c.requests, requests.Load())
		})
	}
}

func TestReadsAndDeletesAreTriedAgain(t *testing.T) {
	b, requests := answers(t, 0, 500, 502, 200)
	_, err := b.Head(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, int64(4), requests.Load())

	b, requests = answers(t, 500)
	err = b.Delete(t.Context(), "a")
	require.True(t, env.IsUnknown(err), "%v", err)
	require.Equal(t, int64(5), requests.Load())

	b, _ = answers(t, 403)
	err = b.Delete(t.Context(), "a")
	require.Error(t, err)
	require.False(t, env.IsUnknown(err), "%v", err)
}

func TestContentThatIsNotNamedIsNotRead(t *testing.T) {
	b, _ := answers(t, untagged)
	_, _, err := b.Get(t.Context(), "a")
	require.ErrorContains(t, err, "has no ETag")
}

func TestServerThatIsNotThere(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	server := httptest.NewServer(nil)
	server.Close()
	b, err := s3.Open("s3://bucket?endpoint=" + server.URL)
	require.NoError(t, err)
	_, err = b.Put(t.Context(), "a", nil, env.Condition{})
	require.Error(t, err)
	require.False(t, env.IsUnknown(err), "who was not reached has done nothing: %v", err)
}

// A server that knows no ranges sends the whole object, with status 200.
func TestServerWithoutRanges(t *testing.T) {
	b, _ := answers(t, 200)
	_, err := b.GetRange(t.Context(), "a", 1, 2)
	require.ErrorContains(t, err, "do not lie inside the object")
}
