package remote_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/env/osenv"
)

// loose is a store that forgets some of the conditions it is asked to keep.
type loose struct {
	env.Bucket
	change func(env.Condition) (env.Condition, error)
}

func (l loose) Put(ctx context.Context, key string, body []byte, cond env.Condition) (env.ETag, error) {
	cond, err := l.change(cond)
	if err != nil {
		return "", err
	}
	return l.Bucket.Put(ctx, key, body, cond)
}

// nameless is a store that does not name what it wrote, or what it read.
type nameless struct {
	env.Bucket
	put, get bool
}

func (n nameless) Put(ctx context.Context, key string, body []byte, cond env.Condition) (env.ETag, error) {
	tag, err := n.Bucket.Put(ctx, key, body, cond)
	if n.put {
		tag = ""
	}
	return tag, err
}

func (n nameless) Get(ctx context.Context, key string) ([]byte, env.ETag, error) {
	body, tag, err := n.Bucket.Get(ctx, key)
	if n.get {
		tag = ""
	}
	return body, tag, err
}

// A condition without a name is none, and would be taken as wanted.
func TestAStoreThatNamesNoContentIsUnfit(t *testing.T) {
	e, err := osenv.New(osenv.Config{Root: t.TempDir(), Bucket: t.TempDir()})
	require.NoError(t, err)
	err = remote.Probe(t.Context(), nameless{Bucket: e.Bucket, put: true}, wal.TenantID{1})
	require.ErrorIs(t, err, remote.ErrUnfit)
	require.ErrorContains(t, err, "that it wrote")
	err = remote.Probe(t.Context(), nameless{Bucket: e.Bucket, get: true}, wal.TenantID{1})
	require.ErrorIs(t, err, remote.ErrUnfit)
	require.ErrorContains(t, err, "that it read")
}

func TestProbe(t *testing.T) {
	e, err := osenv.New(osenv.Config{Root: t.TempDir(), Bucket: t.TempDir()})
	require.NoError(t, err)
	tenant := wal.TenantID{1}
	probe := func(change func(env.Condition) (env.Condition, error)) error {
		return remote.Probe(t.Context(), loose{e.Bucket, change}, tenant)
	}
	keep := func(c env.Condition) (env.Condition, error) { return c, nil }
	require.NoError(t, probe(keep))
	require.NoError(t, probe(keep), "the object is there already")
	objects, err := e.Bucket.List(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, objects, 1)

	err = probe(func(c env.Condition) (env.Condition, error) { return env.Condition{IfMatch: c.IfMatch}, nil })
	require.ErrorIs(t, err, remote.ErrUnfit)
	require.ErrorContains(t, err, "it took creating an object that exists")

	err = probe(func(c env.Condition) (env.Condition, error) { return env.Condition{IfAbsent: c.IfAbsent}, nil })
	require.ErrorIs(t, err, remote.ErrUnfit)
	require.ErrorContains(t, err, "it took replacing content that the object does not have")

	err = probe(func(env.Condition) (env.Condition, error) { return env.Condition{}, env.ErrPrecondition })
	require.ErrorIs(t, err, remote.ErrUnfit)
	require.ErrorContains(t, err, "it refused replacing the content that the object has")

	away := errors.New("the store is away")
	err = probe(func(env.Condition) (env.Condition, error) { return env.Condition{}, away })
	require.ErrorIs(t, err, away)
	require.NotErrorIs(t, err, remote.ErrUnfit)
}
