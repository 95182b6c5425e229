package report

import (
	"bytes"
	"fmt"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/sim"
	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/sim/world"
)

func options(t *testing.T, without ...string) sim.Options {
	opts, err := sim.Draw(3, "all")
	require.NoError(t, err)
	require.NoError(t, opts.Without(without...))
	opts.Storm = 5 * time.Second
	return opts
}

// spoiled is a run whose evidence was tampered with: one version of one page is another.
func spoiled(t *testing.T, window Window) *recording {
	rec := record(options(t), nil, keep{near: -1, window: window})
	require.True(t, rec.result.OK(), rec.result.Failure())
	versions := rec.result.Run.Log.Versions
	for i := range versions {
		if versions[i].Tx != 0 {
			versions[i].Value++
			versions[i].Digest++
		}
	}
	rec.result.Verdicts = check.All(&rec.result.Run)
	require.False(t, rec.result.OK())
	return rec
}

func TestTheRunIsRecordedAsItWas(t *testing.T) {
	opts := options(t)
	plain := sim.Run(opts, sim.Play{})
	rec := record(opts, nil, keep{near: 1000, window: Window{time.Second, 2 * time.Second}})
	require.Equal(t, plain.Hash, rec.result.Hash, "being looked at changes nothing")
	require.Len(t, rec.near, 2*around+1)
	require.NotEmpty(t, rec.marks)
	require.NotEmpty(t, rec.arrows)
	for _, e := range rec.arrows {
		require.NotEmpty(t, e.From)
		require.LessOrEqual(t, e.Sent, e.At)
		require.True(t, e.At >= time.Second && e.At <= 2*time.Second)
	}
}

// TestEachNodeSaysWhatItIs: every lane of a node has its roles, with term or generation
// and LSN.
func TestEachNodeSaysWhatItIs(t *testing.T) {
	rec := record(options(t), nil, keep{near: -1})
	roles := map[string][]string{}
	for _, e := range rec.marks {
		if text := standing(e.Text); e.Kind == world.KindEvent && text != "" {
			roles[e.Node] = append(roles[e.Node], text)
		}
	}
	opts := rec.result.Options
	has := func(kind string, nodes int, role string) {
		for n := range nodes {
			name := fmt.Sprint(kind, n+1)
			require.True(t, slices.ContainsFunc(roles[name], regexp.MustCompile(role).MatchString), "%s: %v of %s", name, roles[name], role)
		}
	}
	has("sk", opts.Safekeepers, `^voter t[1-9]\d* 0/[0-9A-F]+ c0/[0-9A-F]+$`)
	has("sk", opts.Safekeepers, `^follower t[1-9]\d* 0/[0-9A-F]+ c0/[0-9A-F]+$`)
	has("ps", 1, `^owner g[1-9]\d* 0/[0-9A-F]+$`)
	has("compute", 1, `^leader t[1-9]\d* 0/[0-9A-F]+$`)
}

func TestRunsAreTheSameUpToTheDivergence(t *testing.T) {
	d := compare(options(t), nil, withoutDelay(t))
	require.Positive(t, d.Index)
	for _, r := range d.rows() {
		if r.Index < d.Index {
			require.Equal(t, r.Failed, r.Passed)
		}
		if r.Index == d.Index {
			require.NotEqual(t, r.Failed, r.Passed)
			require.True(t, r.Differs)
		}
	}
	same := compare(options(t), nil, neighbour{"the same", options(t), nil})
	for _, r := range same.rows() {
		require.False(t, r.Differs, "%v", r)
	}
}

func withoutDelay(t *testing.T) neighbour {
	return neighbour{"without net.delay", options(t, "net.delay"), nil}
}

// TestARunWithoutFaultsHasNeighbours: each has half of a stream drawn anew, and is the same
// run up to there.
func TestARunWithoutFaultsHasNeighbours(t *testing.T) {
	opts := sim.Sweep(0)
	r := sim.Run(opts, sim.Play{})
	all := redrawn(r)
	require.Len(t, all, min(len(r.Tape.Streams), neighboursMax))
	require.Equal(t, all, redrawn(r), "the same run has the same neighbours")
	for _, n := range all {
		require.Equal(t, opts, n.opts)
		changed := 0
		for i, s := range n.tape.Streams {
			was := r.Tape.Streams[i]
			require.Equal(t, was.Name, s.Name)
			require.Equal(t, was.Values[:len(was.Values)/2], s.Values[:len(was.Values)/2])
			if !slices.Equal(was.Values, s.Values) {
				changed++
			}
		}
		require.Equal(t, 1, changed, n.what)
	}
	d := compare(opts, nil, all[0])
	require.Positive(t, d.Index)
	require.NotEqual(t, d.Failed, d.Passed)
}

func TestAPassingRunHasNoDivergence(t *testing.T) {
	rec := record(options(t), nil, keep{near: -1})
	require.Nil(t, diverge(rec, nil))
}

// TestTheCommandsGiveTheRun: a seed is told only where it alone gives the run.
func TestTheCommandsGiveTheRun(t *testing.T) {
	const file = "varve-sim replay out/sim/sweep-0.json"
	opts := sim.Sweep(0)
	r := sim.Run(opts, sim.Play{})
	require.Equal(t, "go run ./cmd/varve-sim run --seed 0 --profile sweep\n"+file, commands(file, r))
	quieter := *r
	for i := range r.Tape.Streams {
		quiet := &world.Tape{Seed: r.Tape.Seed, Streams: slices.Delete(slices.Clone(r.Tape.Streams), i, i+1)}
		if quieter.Hash = sim.Run(opts, sim.Play{Tape: quiet}).Hash; quieter.Hash != r.Hash {
			break
		}
	}
	require.Equal(t, file, commands(file, &quieter), "the tape is another one")
	other := *r
	other.Options.Computes++
	require.Equal(t, file, commands(file, &other), "the options are others")
}

// TestThePageInABrowser opens the page of a failed run in Chromium.
func TestThePageInABrowser(t *testing.T) {
	browser, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("chromium is not installed: run `make prerequisites`: %v", err)
		}
		t.Skip("NOT SEEN IN A BROWSER: chromium is not installed")
	}
	window := Window{time.Second, 1500 * time.Millisecond}
	apart := compare(options(t), nil, withoutDelay(t))
	var body bytes.Buffer
	require.NoError(t, write(&body, spoiled(t, window), apart, "varve-sim replay out/sim/all-3.json", window))
	require.NotRegexp(t, `(src|href)="?https?:`, body.String(), "the page needs nothing from elsewhere")
	require.NotContains(t, body.String(), "ZgotmplZ")

	dir := t.TempDir()
	file, shot := filepath.Join(dir, "page.html"), filepath.Join(dir, "page.png")
	require.NoError(t, os.WriteFile(file, body.Bytes(), 0o644))
	run := func(args ...string) string {
		args = append([]string{
			"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir=" + filepath.Join(dir, "profile"),
			"--window-size=1460,2400",
		}, args...)
		out, err := exec.Command(browser, append(args, "file://"+file)...).Output()
		require.NoError(t, err)
		return string(out)
	}
	dom := run("--dump-dom")
	for _, want := range []string{`id="failure"`, `id="options"`, "seed 3 of profile all, commit ", `id="divergence"`, `class="arrow"`, `class="up"`, "srcdoc", "varve-sim replay", ">sk1<", ">network<"} {
		require.Contains(t, dom, want)
	}
	require.Equal(t, 2, strings.Count(dom, `role="img"`), "the whole run, and closer")

	run("--screenshot=" + shot)
	if keep := os.Getenv("VARVE_KEEP_PICTURE"); keep != "" {
		picture, err := os.ReadFile(shot)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(keep, picture, 0o644))
	}
	f, err := os.Open(shot)
	require.NoError(t, err)
	defer f.Close()
	img, err := png.Decode(f)
	require.NoError(t, err)
	colours := map[[3]uint32]int{}
	for y := 0; y < img.Bounds().Dy(); y++ {
		for x := 0; x < img.Bounds().Dx(); x++ {
			r, g, b, _ := img.At(x, y).RGBA()
			colours[[3]uint32{r >> 8, g >> 8, b >> 8}]++
		}
	}
	require.Greater(t, colours[[3]uint32{0xc9, 0xde, 0xf5}], 5000, "nodes that are up are bands of this colour")
	require.Greater(t, len(colours), 50)
}
