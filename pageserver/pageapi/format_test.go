package pageapi

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/frame"
	"github.com/varvedb/varve/wal/pgwal"
)

// form is one kind of payload: a sample, and decoding followed by encoding.
type form struct {
	name   string
	sample []byte
	again  func([]byte) ([]byte, error)
}

var (
	idA = wal.TimelineID{1, 2, 3}
	idB = wal.TimelineID{4, 5, 6}
	rel = pgwal.RelFileNode{Spc: 1663, DB: 5, Rel: 16384}
)

// same makes a form of a message that encodes itself.
func same[M interface{ AppendTo([]byte) []byte }](name string, sample M, decode func([]byte) (M, error)) form {
	return form{name, sample.AppendTo(nil), func(b []byte) ([]byte, error) {
		m, err := decode(b)
		return m.AppendTo(nil), err
	}}
}

func forms() []form {
	var values ValuesAnswer
	values.Add(pgkey.NextXID(), []byte("value"))
	values.Add(pgkey.NextOID(), nil)
	info := TimelineInfo{ID: idA, Parent: idB, BranchLSN: 1, Start: 2, Cutoff: 3, Position: Position{4, 5}, Generation: 6, Layers: 7, Bytes: 8, Stopped: "no", Meta: []byte("main")}
	explanation := lsm.Explanation{
		Timeline: idA, Cutoff: 1, Durable: 2, LayerBytes: 3, Layers: 4, Versions: 5, Bytes: 6, History: 7, Current: 8, Garbage: 9, Damage: []string{"object: why"},
		Pins: []lsm.PinCost{{Pin: lsm.Pin{LSN: 10, Branch: idB}, Bytes: 11, Only: 12}, {Pin: lsm.Pin{LSN: 13, Lease: lsm.LeaseID{14}}, Bytes: 15, Only: 16}},
	}
	collection := lsm.Collection{Cutoff: 1, Layers: 2, Bytes: 3, Dropped: 4, Pins: []lsm.Pin{{LSN: 5, Branch: idB}, {LSN: 6, Lease: lsm.LeaseID{7}}}}
	leases := []lsm.LeaseInfo{{ID: lsm.LeaseID{1}, LSN: 2, End: 3}, {ID: lsm.LeaseID{4}, LSN: 5, End: 6}}
	stats := []Stats{{Metrics: []Metric{{"bucket_puts", 1}, {"bucket_gets", 2}}}, {ID: idA, Metrics: []Metric{{"layers", 3}}, Aside: []string{"object: cause"}}}
	return []form{
		{"GetPages", AppendGetPages(nil, idA, []timeline.PageRead{{Rel: rel, Fork: pgwal.VMFork, Block: 7, LSN: 8}, {Rel: rel}}), func(b []byte) ([]byte, error) {
			id, reads, err := DecodeGetPages(b)
			return AppendGetPages(nil, id, reads), err
		}},
		same("RelSize", RelSizeRequest{idA, rel, pgwal.InitFork, 9}, DecodeRelSize),
		same("Values", ValuesRequest{idA, pgkey.Control(), pgkey.NextOID(), 9}, DecodeValues),
		{"answer to Values", values.Bytes(), func(b []byte) ([]byte, error) {
			var again ValuesAnswer
			_, more, err := decodeValuesAnswer(b, func(key lsm.Key, value []byte) error { again.Add(key, value); return nil })
			out := slices.Clone(again.Bytes())
			if more {
				out[0] = 1
			}
			return out, err
		}},
		{"Position", AppendTimeline(nil, idA), func(b []byte) ([]byte, error) {
			id, err := DecodeTimeline(b)
			return AppendTimeline(nil, id), err
		}},
		{"WaitLSN", AppendTimelineLSN(nil, idA, 0x1234), func(b []byte) ([]byte, error) {
			id, lsn, err := DecodeTimelineLSN(b)
			return AppendTimelineLSN(nil, id, lsn), err
		}},
		{"LSNAt", AppendLSNAt(nil, idA, time.Unix(1_700_000_000, 5)), func(b []byte) ([]byte, error) {
			id, at, err := DecodeLSNAt(b)
			return AppendLSNAt(nil, id, at), err
		}},
		same("Branch", BranchRequest{Parent: idA, Child: idB, At: 7, Meta: []byte("dev")}, DecodeBranch),
		same("Import", ImportRequest{Timeline: idA, Path: "/var/lib/pg", Meta: []byte("main")}, DecodeImport),
		same("Follow", FollowRequest{idA, []string{"unix:/a", "tcp:b:1"}}, DecodeFollow),
		same("position", Position{0x10, 0x8}, DecodePosition),
		{"LSN", AppendLSN(nil, 77), func(b []byte) ([]byte, error) {
			lsn, err := DecodeLSN(b)
			return AppendLSN(nil, lsn), err
		}},
		same("answer to Import", Imported{7, 8, 9}, DecodeImported),
		{"answer to List", info.AppendTo(info.AppendTo(nil)), func(b []byte) (again []byte, err error) {
			list, err := DecodeTimelines(b)
			for _, m := range list {
				again = m.AppendTo(again)
			}
			return again, err
		}},
		{"answer to Explain", AppendExplanation(nil, explanation), func(b []byte) ([]byte, error) {
			e, err := DecodeExplanation(b)
			return AppendExplanation(nil, e), err
		}},
		same("Collect", CollectRequest{idA, lsm.CollectOptions{Cutoff: 7, DryRun: true}}, DecodeCollect),
		same("Lease", LeaseRequest{idA, leases[0]}, DecodeLease),
		{"Release", AppendRelease(nil, idA, leases[1].ID), func(b []byte) ([]byte, error) {
			id, lease, err := DecodeRelease(b)
			return AppendRelease(nil, id, lease), err
		}},
		{"answer to Collect", AppendCollection(nil, collection), func(b []byte) ([]byte, error) {
			c, err := DecodeCollection(b)
			return AppendCollection(nil, c), err
		}},
		{"answer to Stats", stats[1].AppendTo(stats[0].AppendTo(nil)), func(b []byte) (again []byte, err error) {
			list, err := DecodeStats(b)
			for _, m := range list {
				again = m.AppendTo(again)
			}
			return again, err
		}},
		{"answer to Leases", AppendLeases(nil, leases), func(b []byte) ([]byte, error) {
			again, err := DecodeLeases(b)
			return AppendLeases(nil, again), err
		}},
	}
}

// The layout on the wire is what testdata says, for ever.
func TestGolden(t *testing.T) {
	golden, err := os.ReadFile("testdata/messages.txt")
	require.NoError(t, err)
	var now strings.Builder
	for _, f := range forms() {
		fmt.Fprintf(&now, "%s: %s\n", f.name, hex.EncodeToString(f.sample))
	}
	require.Equal(t, string(golden), now.String())
}

func TestMessagesRoundTripAndRefuseOtherLengths(t *testing.T) {
	for _, f := range forms() {
		again, err := f.again(f.sample)
		require.NoError(t, err, f.name)
		require.Equal(t, f.sample, again, f.name)
		if f.name != "answer to List" { // whose end may be any timeline's
			_, err = f.again(append(slices.Clone(f.sample), 1))
			require.ErrorIs(t, err, wal.ErrCorruption, f.name)
		}
		_, err = f.again(f.sample[:len(f.sample)-1])
		require.ErrorIs(t, err, wal.ErrCorruption, f.name)
	}
}

func TestBoundsAreKept(t *testing.T) {
	_, _, err := DecodeGetPages(AppendGetPages(nil, idA, make([]timeline.PageRead, PagesMax+1)))
	require.ErrorIs(t, err, wal.ErrCorruption)
	_, err = DecodeFollow(FollowRequest{idA, make([]string, sourcesMax+1)}.AppendTo(nil))
	require.ErrorIs(t, err, wal.ErrCorruption)
	_, err = DecodeImport(ImportRequest{Timeline: idA, Path: strings.Repeat("x", textMax+1)}.AppendTo(nil))
	require.ErrorIs(t, err, wal.ErrCorruption)
	list, err := DecodeTimelines(TimelineInfo{Stopped: strings.Repeat("x", 2*textMax)}.AppendTo(nil))
	require.NoError(t, err)
	require.Len(t, list[0].Stopped, textMax)
	var values ValuesAnswer
	for values.Add(pgkey.Control(), make([]byte, 1<<20)) {
	}
	require.Less(t, len(values.Bytes()), frame.MaxPayload)
}

func TestEveryKindOfErrorSurvivesTheWire(t *testing.T) {
	for _, c := range codes {
		sent := frame.ErrorFrame(1, ToWire(fmt.Errorf("read something: %w", c.kind)))
		got := fromWire(frame.AsError(sent))
		require.ErrorIs(t, got, c.kind)
		require.EqualError(t, got, "read something: "+c.kind.Error())
	}
	forGood := fromWire(frame.AsError(frame.ErrorFrame(1, ToWire(&timeline.StoppedError{Cause: &timeline.MissingImageError{}}))))
	require.ErrorIs(t, forGood, timeline.ErrStoppedForGood)
	require.ErrorIs(t, forGood, timeline.ErrStopped)
	onceMore := fromWire(frame.AsError(frame.ErrorFrame(1, ToWire(&timeline.StoppedError{Cause: errors.New("the bucket is away")}))))
	require.NotErrorIs(t, onceMore, timeline.ErrStoppedForGood)
	require.ErrorIs(t, onceMore, timeline.ErrStopped)
	children := &lsm.HasChildrenError{Timeline: idA, Children: []wal.TimelineID{idB}}
	got := fromWire(frame.AsError(frame.ErrorFrame(1, ToWire(children))))
	require.ErrorIs(t, got, ErrHasChildren)
	require.ErrorContains(t, got, idB.String())
	other := errors.New("disk is on fire")
	require.EqualError(t, fromWire(frame.AsError(frame.ErrorFrame(1, ToWire(other)))), other.Error())
}

// Any bytes are an error, or a message whose encoding they are.
func FuzzDecode(f *testing.F) {
	kinds := forms()
	for i, k := range kinds {
		f.Add(uint8(i), k.sample)
	}
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		k := kinds[int(kind)%len(kinds)]
		if again, err := k.again(b); err == nil && !bytes.Equal(again, b) && k.name != "answer to Values" {
			t.Fatalf("%s: %x decodes and encodes as %x", k.name, b, again)
		}
	})
}
