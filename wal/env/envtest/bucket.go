package envtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal/env"
)

// RunBucket runs the suite's part about buckets, of which w.Run gives an empty one each
// time it is called. It does not call w.Addr.
func RunBucket(t *testing.T, w World) {
	for name, body := range map[string]func(*testing.T, context.Context, env.Bucket){
		"RoundTrip":      bucketRoundTrip,
		"IfAbsent":       bucketIfAbsent,
		"IfMatch":        bucketIfMatch,
		"Ranges":         bucketRanges,
		"List":           bucketList,
		"MissingObjects": bucketMissing,
	} {
		t.Run(name, func(t *testing.T) {
			w.Run(t, func(ctx context.Context, e env.Env) { body(t, ctx, e.Bucket) })
		})
	}
	if w.Near {
		t.Run("Opened", func(t *testing.T) {
			w.Run(t, func(ctx context.Context, e env.Env) { bucketOpened(t, ctx, e.Bucket.(env.Near)) })
		})
	}
	for name, body := range map[string]func(*testing.T, context.Context, env.Env){
		"OneOfManyWins":  bucketOneWins,
		"NoChangeIsLost": bucketNoChangeIsLost,
		"PutsAreWhole":   bucketPutsAreWhole,
	} {
		t.Run(name, func(t *testing.T) {
			w.Run(t, func(ctx context.Context, e env.Env) { body(t, ctx, e) })
		})
	}
}

func bucketRoundTrip(t *testing.T, ctx context.Context, b env.Bucket) {
	for _, body := range []string{"", "one", strings.Repeat("long", 100_000)} {
		put, err := b.Put(ctx, "a/b", []byte(body), env.Condition{})
		require.NoError(t, err)
		got, tag, err := b.Get(ctx, "a/b")
		require.NoError(t, err)
		require.Equal(t, body, string(got))
		require.Equal(t, put, tag)
		info, err := b.Head(ctx, "a/b")
		require.NoError(t, err)
		require.Equal(t, env.ObjectInfo{Key: "a/b", Size: int64(len(body))}, info)
	}
}

func bucketIfAbsent(t *testing.T, ctx context.Context, b env.Bucket) {
	_, err := b.Put(ctx, "a", []byte("1"), env.IfAbsent())
	require.NoError(t, err)
	_, err = b.Put(ctx, "a", []byte("2"), env.IfAbsent())
	require.ErrorIs(t, err, env.ErrPrecondition)
	require.False(t, env.IsUnknown(err))
	got, _, err := b.Get(ctx, "a")
	require.NoError(t, err)
	require.Equal(t, "1", string(got))
}

func bucketIfMatch(t *testing.T, ctx context.Context, b env.Bucket) {
	first, err := b.Put(ctx, "a", []byte("1"), env.Condition{})
	require.NoError(t, err)
	second, err := b.Put(ctx, "a", []byte("2"), env.IfMatch(first))
	require.NoError(t, err)
	require.NotEqual(t, first, second)
	got, err := b.GetRange(ctx, "a", 0, 1)
	require.NoError(t, err)
	require.Equal(t, "2", string(got), "a range is of what was put last")
	_, err = b.Put(ctx, "a", []byte("3"), env.IfMatch(first))
	require.ErrorIs(t, err, env.ErrPrecondition)
	require.NoError(t, b.Delete(ctx, "a"))
	_, err = b.Put(ctx, "a", []byte("4"), env.IfMatch(second))
	require.ErrorIs(t, err, env.ErrPrecondition)
}

func bucketRanges(t *testing.T, ctx context.Context, b env.Bucket) {
	_, err := b.Put(ctx, "a", []byte("0123456789"), env.Condition{})
	require.NoError(t, err)
	got, err := b.GetRange(ctx, "a", 3, 4)
	require.NoError(t, err)
	require.Equal(t, "3456", string(got))
	got, err = b.GetRange(ctx, "a", 0, 10)
	require.NoError(t, err)
	require.Equal(t, "0123456789", string(got))
	for _, r := range [][2]int64{{8, 3}, {11, 0}, {-1, 2}, {0, -1}, {5, 1 << 62}, {1 << 62, 1 << 62}} {
		_, err := b.GetRange(ctx, "a", r[0], r[1])
		require.Error(t, err, "%v", r)
	}
}

func bucketList(t *testing.T, ctx context.Context, b env.Bucket) {
	for _, key := range []string{"a/b/c", "a/b-d", "a/bb", "b", "a/b/a"} {
		_, err := b.Put(ctx, key, []byte(key), env.Condition{})
		require.NoError(t, err)
	}
	keys := func(prefix string) (keys []string) {
		infos, err := b.List(ctx, prefix)
		require.NoError(t, err)
		for _, info := range infos {
			require.Equal(t, int64(len(info.Key)), info.Size)
			keys = append(keys, info.Key)
		}
		return keys
	}
	require.Equal(t, []string{"a/b-d", "a/b/a", "a/b/c", "a/bb", "b"}, keys(""))
	require.Equal(t, []string{"a/b/a", "a/b/c"}, keys("a/b/"))
	require.Equal(t, []string{"a/b-d", "a/b/a", "a/b/c", "a/bb"}, keys("a/b"))
	require.Empty(t, keys("c"))
	require.Empty(t, keys("c/d"))
	require.NoError(t, b.Delete(ctx, "a/b/a"))
	require.NoError(t, b.Delete(ctx, "a/b/a"), "deleting what is not there is no error")
	require.Equal(t, []string{"a/b/c"}, keys("a/b/"))
}

func bucketMissing(t *testing.T, ctx context.Context, b env.Bucket) {
	_, _, err := b.Get(ctx, "missing")
	require.ErrorIs(t, err, env.ErrNoObject)
	_, err = b.GetRange(ctx, "missing", 0, 1)
	require.ErrorIs(t, err, env.ErrNoObject)
	_, err = b.Head(ctx, "missing")
	require.ErrorIs(t, err, env.ErrNoObject)
	for _, bad := range []string{"", "/", "a//b", "../a", "a/.hidden"} {
		_, err := b.Put(ctx, bad, nil, env.Condition{})
		require.Error(t, err, "%q", bad)
	}
}

// bucketOpened: a near bucket's opened object stays what it was.
func bucketOpened(t *testing.T, ctx context.Context, near env.Near) {
	_, err := near.Put(ctx, "a/b", []byte("0123456789"), env.Condition{})
	require.NoError(t, err)
	for _, missing := range []string{"a", "a/c"} {
		_, err = near.Open(ctx, missing)
		require.ErrorIs(t, err, env.ErrNoObject)
	}
	_, err = near.Open(ctx, "../a")
	require.Error(t, err)
	object, err := near.Open(ctx, "a/b")
	require.NoError(t, err)
	reads := func(off int64, size int, want string, wantErr error) {
		p := make([]byte, size)
		n, err := object.ReadAt(ctx, p, off)
		require.Equal(t, want, string(p[:n]))
		require.ErrorIs(t, err, wantErr)
	}
	check := func() {
		reads(3, 4, "3456", nil)
		reads(8, 4, "89", io.EOF)
		reads(10, 1, "", io.EOF)
		_, err := object.ReadAt(ctx, make([]byte, 1), -1)
		require.Error(t, err)
	}
	check()
	_, err = near.Put(ctx, "a/b", []byte("another"), env.Condition{})
	require.NoError(t, err)
	check()
	require.NoError(t, near.Delete(ctx, "a/b"))
	check()
	require.NoError(t, object.Close())
	_, err = object.ReadAt(ctx, make([]byte, 1), 0)
	require.Error(t, err)
}

// bucketOneWins: of many writers that saw the same content, one replaces it.
func bucketOneWins(t *testing.T, ctx context.Context, e env.Env) {
	tag, err := e.Bucket.Put(ctx, "index", []byte("start"), env.Condition{})
	require.NoError(t, err)
	const writers = 8
	won := env.NewMailbox[int](e.Tasks, writers)
	g := e.Tasks.NewGroup(ctx)
	for i := range writers {
		g.Go("writer", func(ctx context.Context) error {
			_, err := e.Bucket.Put(ctx, "index", fmt.Appendf(nil, "writer %d", i), env.IfMatch(tag))
			if err == nil {
				won.TryPut(i)
				return nil
			}
			require.ErrorIs(t, err, env.ErrPrecondition)
			return nil
		})
	}
	require.NoError(t, g.Wait())
	winner, ok := won.TryTake()
	require.True(t, ok)
	_, ok = won.TryTake()
	require.False(t, ok)
	body, _, err := e.Bucket.Get(ctx, "index")
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("writer %d", winner), string(body))
}

// bucketNoChangeIsLost: of writers that each add one to what they read, while others put
// large objects, every success counts, and nothing else does.
func bucketNoChangeIsLost(t *testing.T, ctx context.Context, e env.Env) {
	_, err := e.Bucket.Put(ctx, "count", nil, env.IfAbsent())
	require.NoError(t, err)
	const writers, each = 4, 5
	g := e.Tasks.NewGroup(ctx)
	for i := range writers {
		g.Go("large", func(ctx context.Context) error {
			_, err := e.Bucket.Put(ctx, fmt.Sprint("large/", i), make([]byte, 1<<20), env.Condition{})
			return err
		})
		g.Go("counter", func(ctx context.Context) error {
			for done := 0; done < each; {
				body, tag, err := e.Bucket.Get(ctx, "count")
				if err != nil {
					return err
				}
				_, err = e.Bucket.Put(ctx, "count", append(body, byte(i)), env.IfMatch(tag))
				switch {
				case err == nil:
					done++
				case !errors.Is(err, env.ErrPrecondition):
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	body, _, err := e.Bucket.Get(ctx, "count")
	require.NoError(t, err)
	for i := range writers {
		require.Equal(t, each, bytes.Count(body, []byte{byte(i)}))
	}
	infos, err := e.Bucket.List(ctx, "large/")
	require.NoError(t, err)
	require.Len(t, infos, writers)
}

// bucketPutsAreWhole: of writers of one object, without conditions, one wins, and what
// readers see meanwhile is of one of them.
func bucketPutsAreWhole(t *testing.T, ctx context.Context, e env.Env) {
	const writers, size = 4, 200_000
	_, err := e.Bucket.Put(ctx, "a", make([]byte, size), env.Condition{})
	require.NoError(t, err)
	g := e.Tasks.NewGroup(ctx)
	for i := range writers {
		g.Go("writer", func(ctx context.Context) error {
			_, err := e.Bucket.Put(ctx, "a", bytes.Repeat([]byte{byte(i)}, size+i), env.Condition{})
			if err != nil {
				return err
			}
			body, _, err := e.Bucket.Get(ctx, "a")
			if err == nil && !bytes.Equal(body, bytes.Repeat(body[:1], size+int(body[0]))) {
				err = errors.New("an object has parts of several")
			}
			return err
		})
	}
	require.NoError(t, g.Wait())
}
