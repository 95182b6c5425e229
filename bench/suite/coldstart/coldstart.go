package coldstart

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"syscall"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/bench/cluster"
	"github.com/varvedb/varve/bench/paired"
	"github.com/varvedb/varve/bench/postgres"
	"github.com/varvedb/varve/pageserver/basebackup"
)

// Config says which databases are started.
type Config struct {
	Scales []int // of pgbench, 15 MB each, ascending; the second is compared with vanilla
}

// Full is the measurement of record.
var Full = Config{Scales: []int{1, 10, 40}}

// Quick is for smoke.
var Quick = Config{Scales: []int{1, 4}}

// Suite describes the suite.
func Suite() bench.Suite {
	return bench.Suite{
		Name: "coldstart", Letter: "h", Weight: 120,
		Title: "cold start of a compute, which copies the whole database first: there is no lazy directory yet",
		About: "The time from the wish to start to the first answered query, asked every 0.5 ms. Vanilla PostgreSQL starts on a directory that is there, cleanly stopped, with the same shared_buffers. " +
			"Varve makes a new directory from storage each time: it wins a term, gets the start state, fetches every page, and starts. So its time grows with the database, which sizes shows.",
		Run: bench.Sized(Full, Quick, Run),
	}
}

type suite struct {
	s        *bench.Session
	cfg      Config
	programs postgres.Programs
	vanillas []*postgres.Server // stopped, by scale
	systems  []*cluster.System  // by scale
	steps    []cluster.Step     // of the latest start
}

const (
	varveSettings   = "3 safekeepers and a pageserver in this process, unix sockets; shared_buffers 128 MB"
	vanillaSettings = "an existing directory; shared_buffers 128 MB, wal_level replica"
)

// Run measures.
func Run(ctx context.Context, s *bench.Session, cfg Config) error {
	programs, err := postgres.Find(ctx)
	if err != nil {
		s.Miss("start", err.Error())
		return nil
	}
	b := &suite{s: s, cfg: cfg, programs: programs}
	cases, err := s.Build(ctx, bench.Builder{Names: []string{"start", "sizes"}, Build: b.cases})
	if err != nil {
		return err
	}
	if err := s.Measure(ctx, cases...); err != nil {
		return err
	}
	b.plot()
	return nil
}

func (b *suite) cases(ctx context.Context) ([]paired.Case, error) {
	if err := b.setUp(ctx); err != nil {
		return nil, err
	}
	start, err := b.start(ctx)
	return []paired.Case{start, b.sizes()}, err
}

// database makes a stopped cluster with pgbench's tables.
func (b *suite) database(ctx context.Context, name string, scale int) (*postgres.Server, error) {
	b.s.Step("database of scale %d", scale)
	dir, err := b.s.Dir("pg")
	if err != nil {
		return nil, err
	}
	s, err := b.programs.Init(dir+"/"+name, map[string]string{"shared_buffers": "128MB", "wal_level": "replica", "wal_log_hints": "on"})
	if err != nil {
		return nil, err
	}
	if err := s.Start(ctx); err != nil {
		return nil, err
	}
	if err := s.Fill("postgres", scale); err != nil {
		return nil, err
	}
	return s, s.Close()
}

// system is Varve with the cluster imported.
func (b *suite) system(ctx context.Context, name string, s *postgres.Server) (*cluster.System, error) {
	b.s.Step("importing %s", name)
	dir, err := b.s.Dir(name)
	if err != nil {
		return nil, err
	}
	v, err := cluster.StartSystem(ctx, dir, s.DataDir)
	if err != nil {
		return nil, err
	}
	b.s.Cleanup(v.Stop)
	return v, nil
}

// setUp makes the databases of all scales, and imports them.
func (b *suite) setUp(ctx context.Context) error {
	for _, scale := range b.cfg.Scales {
		name := fmt.Sprint("scale", scale)
		database, err := b.database(ctx, name, scale)
		if err != nil {
			return err
		}
		v, err := b.system(ctx, name, database)
		if err != nil {
			return err
		}
		b.vanillas, b.systems = append(b.vanillas, database), append(b.systems, v)
	}
	return nil
}

func (b *suite) start(ctx context.Context) (c paired.Case, err error) {
	database, v := b.vanillas[1], b.systems[1]
	state, err := b.stateBytes(ctx, v)
	if err != nil {
		return c, err
	}
	ours := func(ctx context.Context, _ int) (paired.Sample, error) {
		life, err := v.Start(ctx)
		if err != nil {
			return paired.Sample{}, err
		}
		b.steps = life.Steps
		took := float64(life.ToQuery) / 1e6
		if err := life.Stop(); err != nil {
			return paired.Sample{}, err
		}
		vanilla, err := b.vanilla(ctx, database)
		m := map[string]float64{
			"ms": took, "ms_over_vanilla": took - float64(vanilla)/1e6, "start_state_bytes": state,
			"pages": float64(life.Built.Pages), "relations": float64(life.Built.Relations),
		}
		for _, step := range life.Steps {
			m[metricOf(step.Name)] += float64(step.Took) / 1e6
		}
		return paired.Sample{Metrics: m}, err
	}
	return paired.Case{Name: "start", Arms: []paired.Arm{{Name: "varve", Settings: varveSettings, Run: ours}, {
		Name: "vanilla", Settings: vanillaSettings, Run: func(ctx context.Context, _ int) (paired.Sample, error) {
			took, err := b.vanilla(ctx, database)
			return paired.Sample{Metrics: map[string]float64{"ms": float64(took) / 1e6}}, err
		},
	}, {Name: "initdb", Settings: "initdb --no-sync and a start", Run: b.initdb}}}, nil
}

// metricOf names a step of a start: the steps that name an LSN or a version are cut.
func metricOf(step string) string {
	for _, known := range []string{"winning a term", "waiting until the pageserver", "fetching all pages", "starting PostgreSQL", "first query"} {
		if len(step) >= len(known) && step[:len(known)] == known {
			step = known
		}
	}
	return "step: " + step + " ms"
}

// vanilla starts PostgreSQL on its directory and stops it again.
func (b *suite) vanilla(ctx context.Context, s *postgres.Server) (time.Duration, error) {
	begin := time.Now()
	if err := s.Start(ctx); err != nil {
		return 0, err
	}
	took := time.Since(begin)
	return took, s.Close()
}

func (b *suite) initdb(ctx context.Context, round int) (s paired.Sample, err error) {
	dir, err := b.s.Dir("pg")
	if err != nil {
		return s, err
	}
	dir = fmt.Sprintf("%s/initdb%d", dir, round)
	begin := time.Now()
	server, err := b.programs.Init(dir, nil)
	if err != nil {
		return s, err
	}
	if err := server.Start(ctx); err != nil {
		return s, err
	}
	s.Metrics = map[string]float64{"ms": float64(time.Since(begin)) / 1e6}
	return s, errors.Join(server.Stop(syscall.SIGQUIT), os.RemoveAll(dir))
}

// stateBytes is the size of the start state without relations, compressed by zstd.
func (b *suite) stateBytes(ctx context.Context, v *cluster.System) (float64, error) {
	t := v.Client.Timeline(cluster.Main)
	prev, err := t.PrevRecord(ctx, v.Identity.Start)
	if err != nil {
		return 0, err
	}
	state, err := basebackup.StartState(ctx, t, v.Identity.Start, prev, time.Now())
	if err != nil {
		return 0, err
	}
	var all []byte
	for _, f := range state.Files {
		all = append(all, f.Body...)
	}
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		return 0, fmt.Errorf("compress start state: %w", err)
	}
	defer encoder.Close()
	return float64(len(encoder.EncodeAll(all, nil))), nil
}

// sizes starts databases of several sizes in each round.
func (b *suite) sizes() paired.Case {
	systems := b.systems
	return paired.Case{Name: "sizes", Arms: []paired.Arm{{Name: "varve", Settings: varveSettings, Run: func(ctx context.Context, round int) (paired.Sample, error) {
		took, pages := make([]float64, len(systems)), make([]float64, len(systems))
		for _, i := range paired.Order(round, len(systems)) {
			life, err := systems[i].Start(ctx)
			if err != nil {
				return paired.Sample{}, err
			}
			took[i], pages[i] = float64(life.ToQuery)/1e6, float64(life.Built.Pages)
			if err := life.Stop(); err != nil {
				return paired.Sample{}, err
			}
		}
		first, last := 0, len(systems)-1
		m := map[string]float64{
			"pages_grow": pages[last] - pages[first],
			"abs_slope":  math.Abs(math.Log(took[last]/took[first]) / math.Log(pages[last]/pages[first])),
		}
		for i, scale := range b.cfg.Scales {
			m[fmt.Sprintf("ms_at_scale_%d", scale)] = took[i]
		}
		return paired.Sample{Metrics: m}, nil
	}}}}
}

// plot draws the steps of a start one after the other: medians over the rounds.
func (b *suite) plot() {
	rounds, quiet := b.s.Timed()
	series := bench.Series{Figure: "coldstart", Name: "varve", X: "milliseconds", Y: "step", Rounds: quiet}
	at := 0.0
	seen := map[string]bool{}
	for _, step := range b.steps {
		metric := metricOf(step.Name)
		values := paired.Values(rounds, "start", "varve", "", metric)
		if seen[metric] || len(values) == 0 {
			continue
		}
		seen[metric] = true
		series.Labels = append(series.Labels, metric[len("step: "):len(metric)-len(" ms")])
		series.XS = append(series.XS, at)
		at += paired.SpreadOf(values).Median
		series.YS = append(series.YS, at)
	}
	vanilla := paired.Values(rounds, "start", "vanilla", "", "ms")
	if len(vanilla) > 0 {
		series.Labels = append(series.Labels, "vanilla: start and first query")
		series.XS, series.YS = append(series.XS, 0), append(series.YS, paired.SpreadOf(vanilla).Median)
	}
	b.s.Plot(series)
}
