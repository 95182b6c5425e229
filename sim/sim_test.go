package sim_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/sim"
	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/sim/world"
)

var (
	seeds   = flag.Int("seeds", 60, "number of fresh seeds, derived from the commit")
	seed    = flag.Uint64("seed", 0, "run this seed only")
	sweep   = flag.Int("sweep", 90, "points of the crash sweep; 0: all of them, which takes eight minutes of CPU time")
	profile = flag.String("profile", "swarm", "of -seed")
)

// one is a seed and its profile.
type one struct {
	profile string
	seed    uint64
	off     string // faults that are switched off, separated by commas
}

func (o one) String() string {
	name := fmt.Sprintf("%s-%d", o.profile, o.seed)
	if o.off != "" {
		name += "-without-" + o.off
	}
	return name
}

// options draws the options.
func (o one) options(t *testing.T) sim.Options {
	t.Helper()
	opts, err := sim.Draw(o.seed, o.profile)
	require.NoError(t, err)
	if o.off != "" {
		require.NoError(t, opts.Without(strings.Split(o.off, ",")...))
	}
	return opts
}

// run runs a seed and fails the test with all that is needed to see why.
func (o one) run(t *testing.T) *sim.Result {
	t.Helper()
	r := sim.Run(o.options(t), sim.Play{})
	if !r.OK() {
		t.Fatal(r.Report() + o.keep(r))
	}
	return r
}

// keep writes the file of a failed run and says how it is replayed.
func (o one) keep(r *sim.Result) string {
	const dir = "out/sim"
	path := filepath.Join(dir, o.String()+".json")
	err := os.MkdirAll(filepath.Join("..", dir), 0o755)
	if err == nil {
		err = os.WriteFile(filepath.Join("..", path), sim.NewRecord(r).Bytes(), 0o644)
	}
	if err != nil {
		return fmt.Sprintf("no file: %v\n", err)
	}
	return fmt.Sprintf("file: go run ./cmd/varve-sim replay %s\n", path)
}

// kept reads the seeds that are always run.
func kept(t *testing.T) []one {
	text, err := os.ReadFile("testdata/seeds/kept.txt")
	require.NoError(t, err)
	return parseKept(t, string(text))
}

// parseKept reads lines of a profile, a seed, maybe "--without" and faults, and what it is for.
func parseKept(t *testing.T, text string) (all []one) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		var o one
		_, err := fmt.Sscan(line, &o.profile, &o.seed)
		require.NoError(t, err, line)
		if words := strings.Fields(line); len(words) > 3 && words[2] == "--without" {
			o.off = words[3]
		}
		o.options(t)
		all = append(all, o)
	}
	return all
}

func TestKeptSeedsMayLackFaults(t *testing.T) {
	all := parseKept(t, "# a remark\n\nall 5 what it is for\nall 5 --without disk.rot,disk.slow what it is for\n")
	require.Equal(t, []one{{profile: "all", seed: 5}, {"all", 5, "disk.rot,disk.slow"}}, all)
	require.Equal(t, "all-5-without-disk.rot,disk.slow", all[1].String())
	with, without := all[0].options(t), all[1].options(t)
	require.False(t, with.Faults[world.DiskRot].Off())
	require.True(t, without.Faults[world.DiskRot].Off())
	require.Equal(t, with.Faults.Without(world.DiskRot, world.DiskSlow), without.Faults)
}

// checkout is the commit of the working directory; empty if git has none.
var checkout = sync.OnceValue(func() string {
	commit, err := exec.Command("git", "rev-parse", "HEAD").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(commit))
})

// TestMain tells what a failed run is of: the build of a test does not know.
func TestMain(m *testing.M) {
	flag.Parse()
	sim.BuiltFrom(checkout())
	os.Exit(m.Run())
}

// fresh derives seeds from the commit, so that each commit tries others: most draw
// their faults, and one in three has all of them.
func fresh(n int) (all []one) {
	h := fnv.New64a()
	h.Write([]byte(checkout()))
	base := h.Sum64() >> 24
	for i := range n {
		o := one{profile: "swarm", seed: base + uint64(i)}
		if i%3 == 0 {
			o.profile = "all"
		}
		all = append(all, o)
	}
	return all
}

// TestSeeds runs the kept seeds and a fresh batch, each twice, and demands that every
// fault fires and every checker judges something over the batch.
func TestSeeds(t *testing.T) {
	batch := append(kept(t), fresh(*seeds)...)
	if *seed != 0 {
		batch = []one{{profile: *profile, seed: *seed}}
	}
	var tally sim.Tally
	for _, o := range batch {
		t.Run(o.String(), func(t *testing.T) {
			r := o.run(t)
			tally.Add(r)
			require.Equal(t, fmt.Sprintf("%016x", r.Hash), fmt.Sprintf("%016x", o.run(t).Hash), "the same seed is the same run: %s", r.Options.Command())
		})
	}
	t.Log(tally.String())
	if *seed == 0 {
		require.Empty(t, tally.Idle())
	}
}

// TestTheMachineCannotBeSeen runs a seed on few and many processors and under a busy
// collector of garbage.
func TestTheMachineCannotBeSeen(t *testing.T) {
	o := fresh(2)[1]
	want := o.run(t).Hash
	for _, n := range []int{1, 8} {
		before := runtime.GOMAXPROCS(n)
		got := o.run(t).Hash
		runtime.GOMAXPROCS(before)
		require.Equal(t, want, got, "GOMAXPROCS %d", n)
	}
	before := debug.SetGCPercent(5)
	defer debug.SetGCPercent(before)
	require.Equal(t, want, o.run(t).Hash, "GOGC=5")
}

// TestARunIsReplayedFromItsFile: the file of a run holds all that it depends on.
func TestARunIsReplayedFromItsFile(t *testing.T) {
	r := fresh(3)[2].run(t)
	record, tape, err := sim.ParseRecord("run", sim.NewRecord(r).Bytes())
	require.NoError(t, err)
	require.Equal(t, r.Options, record.Options)
	again := sim.Run(record.Options, sim.Play{Tape: tape})
	require.Equal(t, record.Hash, fmt.Sprintf("%016x", again.Hash))
}

// TestTheTraceIsNoDifference: looking at a run does not change it.
func TestTheTraceIsNoDifference(t *testing.T) {
	opts, err := sim.Draw(1, "quiet")
	require.NoError(t, err)
	n := 0
	r := sim.Run(opts, sim.Play{Log: func(world.Entry) { n++ }})
	require.NotZero(t, n)
	require.Equal(t, sim.Run(opts, sim.Play{}).Hash, r.Hash)
}

// TestThePictureOfAFailureHasTheFaults: a page of a run with faults is made wrong in
// the evidence, and drawn.
func TestThePictureOfAFailureHasTheFaults(t *testing.T) {
	r := one{profile: "all", seed: 9}.run(t)
	lanes := map[string]bool{}
	for _, f := range r.Run.Faults {
		require.NotZero(t, f.Begin)
		require.True(t, f.End == 0 || f.End > f.Begin, "%v", f)
		lanes[f.Lane] = true
	}
	require.True(t, lanes["net.partition"] && lanes["net.isolate"] && lanes["sk1"], "%v", lanes)
	for i := range r.Run.Ops {
		if op := &r.Run.Ops[i]; op.Kind == check.LatestRead && op.Confirmed && op.Outcome == check.OK {
			op.Pages[0].Value += 1 << 40
			break
		}
	}
	v := check.Porcupine(&r.Run)
	require.False(t, v.OK)
	var html bytes.Buffer
	require.NoError(t, check.Picture(&html, &r.Run, v.At))
	for _, f := range r.Run.Faults {
		for _, text := range []string{f.Lane, f.What} {
			escaped, err := json.Marshal(text)
			require.NoError(t, err)
			require.Contains(t, html.String(), string(escaped))
		}
	}
}

// TestTheSweptHistoryHasEverything: if it has not, another seed is named whose has.
func TestTheSweptHistoryHasEverything(t *testing.T) {
	lacks := sim.SweepLacks(one{profile: "sweep"}.run(t))
	if len(lacks) == 0 {
		return
	}
	opts := sim.Sweep(0)
	for opts.World = 1; opts.World < 500; opts.World++ {
		if r := sim.Run(opts, sim.Play{}); r.OK() && len(sim.SweepLacks(r)) == 0 {
			t.Fatalf("it lacks %v; with sweepSeed %d it would lack nothing and have %d calls", lacks, opts.World, r.Calls)
		}
	}
	t.Fatalf("it lacks %v, as do those of all seeds below %d", lacks, opts.World)
}

// TestACrashAtAnyCall takes one short history and has, in turn, each call of Env in it
// be the one at which its node loses power: some of them, or all with -sweep 0.
func TestACrashAtAnyCall(t *testing.T) {
	whole := one{profile: "sweep"}.run(t)
	points := 2 * whole.Calls
	stride := uint64(1)
	if *sweep > 0 {
		stride = points/uint64(*sweep) | 1 // odd: before calls and after them
	}
	tried, fell := 0, sim.CallCounts{}
	for point := 2 + fresh(1)[0].seed%stride; point < 2+points; point += stride {
		// All points are tried, whatever fails.
		t.Run(fmt.Sprint(point), func(t *testing.T) {
			r := one{profile: "sweep", seed: point}.run(t)
			require.NotNil(t, r.Fell, "nobody fell")
			fell[*r.Fell]++
		})
		tried++
	}
	if *sweep == 0 {
		for kind, calls := range whole.Kinds {
			require.Equal(t, 2*calls, fell[kind], "points at %v of %s, before its calls and after them", kind.Kind, kind.Role)
		}
	}
	t.Logf("of a history with %v\n%v", whole.Done, whole.Covered)
	t.Logf("calls that it has, and points crashed at:\n%s", sim.CallTable(whole.Kinds, fell))
	t.Logf("crashes at %d of %d points, before and after %d calls", tried, points, whole.Calls)
}

// TestManyRunsAreOne runs a short storm of all faults over and over; a thousand times
// if VARVE_FULL is set.
func TestManyRunsAreOne(t *testing.T) {
	runs := 100
	if os.Getenv("VARVE_FULL") != "" {
		runs = 1000
	}
	opts, err := sim.Draw(1, "all")
	require.NoError(t, err)
	opts.Storm = 2 * time.Second
	want, err := sim.Drive(opts)
	require.NoError(t, err)
	require.NotZero(t, want.Commits)
	for n := range runs - 1 {
		got, err := sim.Drive(opts)
		require.NoError(t, err)
		require.Equal(t, want, got, "run %d", n+2)
	}
}
