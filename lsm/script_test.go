package lsm_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/wal"
)

// script is a store driven by a script of testdata/scripts. Timelines have names; keys
// are numbers. The first timeline is main, a root that begins at 10.
//
//	put on=NAME           a line per version: KEY LSN VALUE, the value's first letter its kind
//	flush, compact        on=NAME
//	collect on=NAME cutoff=LSN [dry-run]
//	branch from=NAME name=NAME at=LSN
//	lease, release        on=NAME id=N [at=LSN]
//	read on=NAME          a line per read: KEY LSN
//	layers on=NAME        what every layer holds
//	delete, leave         on=NAME
//	explain on=NAME
//	reopen [redo]
type script struct {
	t     *testing.T
	w     *world
	b     *memBucket
	store *lsm.Store
	redo  bool
	ids   map[string]wal.TimelineID
	open  map[string]*lsm.Timeline
}

func (s *script) start() {
	opts := lsm.Options{BlockBytes: 64, FlushedMax: 32, HistoryBytes: -1, ChainMax: 3}
	if s.redo {
		opts.Redo = textRedo{}
	}
	s.store, s.open = s.w.openWith(s.w.env, opts), map[string]*lsm.Timeline{}
}

func (s *script) timeline(name string) *lsm.Timeline {
	if s.open[name] == nil {
		s.open[name] = attach(s.t, s.store, s.ids[name])
	}
	return s.open[name]
}

// closed notes that a timeline is not attached any more, unless that was refused.
func (s *script) closed(name string, err error) error {
	if err == nil {
		delete(s.open, name)
	}
	return err
}

func (s *script) name(id wal.TimelineID) string {
	for name, other := range s.ids {
		if other == id {
			return name
		}
	}
	return id.String()
}

// run runs one command; an error is its output.
func (s *script) run(d *datadriven.TestData) string {
	out, err := s.command(context.Background(), d)
	if err != nil {
		text := err.Error()
		for name, id := range s.ids {
			text = strings.ReplaceAll(text, id.String(), name)
		}
		return out + "error: " + text + "\n"
	}
	if out == "" {
		return "ok\n"
	}
	return out
}

func (s *script) command(ctx context.Context, d *datadriven.TestData) (string, error) {
	var on, from, name string
	var at, cutoff, id int
	for key, to := range map[string]any{"on": &on, "from": &from, "name": &name, "at": &at, "cutoff": &cutoff, "id": &id} {
		d.MaybeScanArgs(s.t, key, to)
	}
	lsn := wal.LSN(at)
	switch d.Cmd {
	case "put":
		return "", s.put(ctx, on, d.Input)
	case "flush":
		return "", s.timeline(on).Flush(ctx)
	case "compact":
		return "", s.timeline(on).Compact(ctx)
	case "collect":
		c, err := s.timeline(on).Collect(ctx, lsm.CollectOptions{Cutoff: wal.LSN(cutoff), DryRun: d.HasArg("dry-run")})
		return s.collection(c), err
	case "branch":
		s.ids[name] = timelineID(len(s.ids) + 1)
		s.timeline(from)
		return "", s.store.Branch(ctx, s.ids[from], s.ids[name], lsn, nil)
	case "lease":
		return "", s.timeline(on).Lease(ctx, lsm.LeaseID{byte(id)}, lsn, time.Now().Add(time.Hour))
	case "release":
		return "", s.timeline(on).Release(ctx, lsm.LeaseID{byte(id)})
	case "read":
		return s.read(ctx, on, d.Input)
	case "layers":
		return s.layers(on), nil
	case "delete":
		return "", s.closed(on, s.store.Delete(ctx, s.ids[on]))
	case "leave":
		return "", s.timeline(on).DetachFromParent(ctx)
	case "explain":
		return s.explain(ctx, on)
	case "reopen":
		s.redo = d.HasArg("redo")
		err := s.store.Close(ctx)
		s.start()
		return "", err
	}
	return "", fmt.Errorf("unknown command %s", d.Cmd)
}

func (s *script) put(ctx context.Context, on, input string) error {
	var versions []lsm.Version
	for line := range strings.Lines(input) {
		var k int
		var lsn uint64
		var value string
		_, err := fmt.Sscan(line, &k, &lsn, &value)
		require.NoError(s.t, err, line)
		versions = append(versions, put(k, wal.LSN(lsn), value))
	}
	return s.timeline(on).Apply(ctx, versions[len(versions)-1].LSN, versions)
}

func (s *script) collection(c lsm.Collection) string {
	out := fmt.Sprintf("cutoff %d", c.Cutoff)
	for _, p := range c.Pins {
		if p.Branch.IsZero() {
			out += fmt.Sprintf(", lease %d at %d", p.Lease[0], p.LSN)
		} else {
			out += fmt.Sprintf(", branch %s at %d", s.name(p.Branch), p.LSN)
		}
	}
	return out + fmt.Sprintf("; %d layers, dropped %d bytes\n", c.Layers, c.Dropped)
}

func (s *script) read(ctx context.Context, on, input string) (string, error) {
	out := ""
	for line := range strings.Lines(input) {
		var k int
		var lsn uint64
		_, err := fmt.Sscan(line, &k, &lsn)
		require.NoError(s.t, err, line)
		chains := make([]lsm.Chain, 1)
		read := lsm.Read{Key: key(k), LSN: wal.LSN(lsn)}
		if s.redo {
			read.Floor, _ = floorOf(read.Key, read.LSN)
		}
		err = s.timeline(on).Get(ctx, []lsm.Read{read}, chains)
		switch {
		case errors.Is(err, lsm.ErrBelowHorizon):
			out += fmt.Sprintf("%d at %d: %v\n", k, lsn, err)
		case err != nil:
			return out, err
		default:
			out += fmt.Sprintf("%d at %d: %s\n", k, lsn, text(chains[0]))
		}
	}
	return out, nil
}

func (s *script) explain(ctx context.Context, on string) (string, error) {
	e, err := s.timeline(on).Explain(ctx, 0)
	out := fmt.Sprintf("cutoff %d, durable %d: %d versions of %d bytes\nhistory %d, current %d, garbage %d\n",
		e.Cutoff, e.Durable, e.Versions, e.Bytes, e.History, e.Current, e.Garbage)
	for _, p := range e.Pins {
		who := "lease " + fmt.Sprint(p.Lease[0])
		if !p.Branch.IsZero() {
			who = "branch " + s.name(p.Branch)
		}
		out += fmt.Sprintf("%s at %d: %d bytes, %d of them alone\n", who, p.LSN, p.Bytes, p.Only)
	}
	return out, err
}

// layers draws a timeline's layers: of each its level, kind, LSNs and versions.
func (s *script) layers(on string) string {
	out := ""
	for _, object := range s.b.keys(s.ids[on].String() + "/index") {
		x, err := manifest.Decode(object, s.b.objects[object])
		require.NoError(s.t, err)
		for i := range x.Layers {
			d := &x.Layers[i]
			out += fmt.Sprintf("%v level %d in (%d, %d]:", d.Kind, d.Level, d.LSNLo, d.LSNHi)
			for _, k := range s.b.keys(d.Name()) {
				_, err := layer.Check(k, s.b.objects[k], func(v kv.Version) error {
					out += fmt.Sprintf(" %d@%d %s", v.Key[17], v.LSN, v.Value)
					if v.Kind == lsm.Tombstone {
						out += "T"
					}
					return nil
				})
				require.NoError(s.t, err)
			}
			out += "\n"
		}
		if len(x.Layers) == 0 {
			out = "none\n"
		}
	}
	return out
}

func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		s := &script{t: t, b: newMemBucket(), ids: map[string]wal.TimelineID{"main": timelineID(1)}}
		s.w = withBucket(t, s.b)
		s.start()
		require.NoError(t, s.store.Create(context.Background(), s.ids["main"], 10, nil))
		datadriven.RunTest(t, path, func(_ *testing.T, d *datadriven.TestData) string { return s.run(d) })
		require.NoError(t, s.store.Close(context.Background()))
	})
}
