package pgbench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/bench/cluster"
	"github.com/varvedb/varve/bench/meter"
	"github.com/varvedb/varve/bench/paired"
	"github.com/varvedb/varve/bench/postgres"
	"github.com/varvedb/varve/bench/stage"
	"github.com/varvedb/varve/wal"
)

// Config says how much is done in a round.
type Config struct {
	Scale    int           // of pgbench
	Aged     int           // transactions that the database has seen before it is copied to all sides
	Txns1    int           // transactions of one client
	Txns16   int           // of sixteen clients together
	Selects  int           // of four clients together
	Paced    float64       // share of the slowest side's throughput at which paced transactions arrive
	PacedFor time.Duration // of each side
	Rows     int           // copied, and indexed
	FaultFor time.Duration // load while a safekeeper dies and comes back
}

// Full is the measurement of record.
var Full = Config{Scale: 20, Aged: 240_000, Txns1: 2000, Txns16: 12_000, Selects: 60_000, Paced: 0.5, PacedFor: 3 * time.Second, Rows: 300_000, FaultFor: 21 * time.Second}

// Quick is for smoke.
var Quick = Config{Scale: 1, Aged: 10_000, Txns1: 200, Txns16: 800, Selects: 4000, Paced: 0.5, PacedFor: 500 * time.Millisecond, Rows: 20_000, FaultFor: 6 * time.Second}

// freshEvery is after how many rounds all clusters are made anew: full-page images of
// vanilla decay with a cluster's age.
const freshEvery = 3

// Suite describes the suite.
func Suite() bench.Suite {
	return bench.Suite{
		Name: "pgbench", Letter: "i", Weight: 600,
		Title: "TPC-B, selects and bulk loads of real PostgreSQLs",
		About: "Three PostgreSQLs with the same buffers and the same load. varve: commits wait for two of three safekeepers. any2of3: commits wait for two of three pg_receivewal --synchronous; " +
			"its own fsync is off, as Varve's is, so that each side flushes in three places, none of them local; a flush may serve several commits, and disk_flushes_per_txn counts what reached the disk. local: fsync on, no receivers. " +
			"tpcb/c1, tpcb/c16 and select/warm run as fast as their clients get answers, and tell throughput only; tpcb/paced and select/paced have transactions arrive at random moments, at half of what the slowest side can do, and tell latencies. " +
			"A number of transactions is given, not a time; a checkpoint comes before each arm; every cluster is made anew every three rounds, as a copy of a database that has seen seven transactions a page: " +
			"in a new one each page is full, so that the first update of a row there goes to another page and to the index, at 200 bytes of log more. " +
			"CPU is that of all that serves: PostgreSQL, and receivers or safekeepers, proposer and pageserver; pgbench itself is not counted. Selects have all pages local on every side.",
		Run: bench.Sized(Full, Quick, Run),
	}
}

// side is one PostgreSQL under load.
type side struct {
	name     string
	settings string
	start    func(ctx context.Context, dir, base string) (*running, error)
}

// running is a started one.
type running struct {
	socket string
	cpu    func() (time.Duration, error) // of all that serves
	syncs  func() int64                  // of safekeepers; nil: not counted
	system *cluster.System               // of varve
	stop   func() error
}

type suite struct {
	s        *bench.Session
	cfg      Config
	programs postgres.Programs
	base     *postgres.Server    // stopped; every cluster begins as its copy
	age      int                 // generation of what runs
	sides    map[string]*running // by name
	rates    map[string]float64  // of paced transactions, by case
}

// Run measures.
func Run(ctx context.Context, s *bench.Session, cfg Config) error {
	programs, err := postgres.Find(ctx)
	if err != nil {
		s.Miss("tpcb/c1", err.Error())
		return nil
	}
	b := &suite{s: s, cfg: cfg, programs: programs, age: -1, sides: map[string]*running{}, rates: map[string]float64{}}
	s.Cleanup(b.stop)
	builders := []bench.Builder{{Names: []string{faults}}}
	for _, c := range []paired.Case{
		b.compare("tpcb/c1", b.tpcb(1, cfg.Txns1), "varve", "any2of3", "local"),
		b.compare("tpcb/c16", b.tpcb(16, cfg.Txns16), "varve", "any2of3", "local"),
		b.compare(tpcbPaced.name, b.paced(tpcbPaced), "varve", "any2of3", "local"),
		b.compare("select/warm", b.selects, "varve", "any2of3"),
		b.compare(selectPaced.name, b.paced(selectPaced), "varve", "any2of3"),
		b.compare("copy", b.copy, "varve", "any2of3"),
		b.compare("index", b.index, "varve", "any2of3"),
	} {
		builders = append(builders, bench.One(c.Name, func(context.Context) (paired.Case, error) { return c, nil }))
	}
	cases, err := s.Build(ctx, builders...)
	if err != nil {
		return err
	}
	if err := b.makeBase(ctx); err != nil {
		return err
	}
	if err := s.Measure(ctx, cases...); err != nil {
		return err
	}
	if s.Wants(faults) {
		if err := b.faults(ctx); err != nil {
			return err
		}
	}
	b.plot()
	return nil
}

// common are settings that all sides have, beside Varve's imposed ones.
var common = map[string]string{
	"shared_buffers": "128MB", "max_connections": "100", "wal_level": "replica", "checkpoint_timeout": "1d", "autovacuum": "off",
}

func (b *suite) makeBase(ctx context.Context) error {
	b.s.Step("database of scale %d", b.cfg.Scale)
	dir, err := b.s.Dir("pg")
	if err != nil {
		return err
	}
	if b.base, err = b.programs.Init(dir+"/base", common); err != nil {
		return err
	}
	if err := b.base.Start(ctx); err != nil {
		return err
	}
	if err := b.base.Fill("postgres", b.cfg.Scale); err != nil {
		return err
	}
	b.s.Step("%d transactions, so that its pages have room for updates", b.cfg.Aged)
	if _, err := b.base.Exec("pgbench", "-n", "-c", "16", "-j", "2", "-t", fmt.Sprint(b.cfg.Aged/16), "dbname=postgres options='-c synchronous_commit=off'"); err != nil {
		return err
	}
	if _, err := b.base.SQL("CREATE TABLE copied (id int, a text, b text)"); err != nil {
		return err
	}
	return b.base.Close()
}

// all lists the sides.
func (b *suite) all() []side {
	return []side{
		{"varve", "fsync off in PostgreSQL, 3 safekeepers each flushing per group; settings that Varve imposes; shared_buffers 128 MB; safekeepers, proposer and pageserver in one process", b.startVarve},
		{"any2of3", "synchronous_commit on, synchronous_standby_names ANY 2 of 3 pg_receivewal --synchronous, fsync off, full_page_writes on; shared_buffers 128 MB", b.startReceived},
		{"local", "fsync on, full_page_writes on, no receivers; shared_buffers 128 MB", b.startLocal},
	}
}

func (b *suite) startVarve(ctx context.Context, dir, _ string) (*running, error) {
	v, err := cluster.StartSystem(ctx, dir, b.base.DataDir)
	if err != nil {
		return nil, err
	}
	life, err := v.Start(ctx)
	if err != nil {
		return nil, errors.Join(err, v.Stop())
	}
	// The start wrote what vanilla has on disk; no background work of it must remain.
	for _, setting := range []string{"autovacuum = off", "checkpoint_timeout = '1d'"} {
		if _, err := b.programs.SQL(life.Dir, "ALTER SYSTEM SET "+setting); err != nil {
			return nil, errors.Join(err, life.Stop(), v.Stop())
		}
	}
	if _, err := b.programs.SQL(life.Dir, "SELECT pg_reload_conf()"); err != nil {
		return nil, errors.Join(err, life.Stop(), v.Stop())
	}
	return &running{
		socket: life.Dir, syncs: v.Syncs, system: v,
		cpu: func() (time.Duration, error) {
			tree, err := meter.Tree(life.PID)
			return tree + meter.Self(), err
		},
		stop: func() error { return errors.Join(life.Stop(), v.Stop()) },
	}, nil
}

func (b *suite) startReceived(ctx context.Context, dir, _ string) (*running, error) {
	r, s, err := b.startVanilla(ctx, dir, map[string]string{"fsync": "off"})
	if err != nil {
		return nil, err
	}
	if err := s.Receive(ctx, 3, 2); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return r, nil
}

func (b *suite) startLocal(ctx context.Context, dir, _ string) (*running, error) {
	r, _, err := b.startVanilla(ctx, dir, map[string]string{"fsync": "on"})
	return r, err
}

func (b *suite) startVanilla(ctx context.Context, dir string, conf map[string]string) (*running, *postgres.Server, error) {
	s, err := b.base.Clone(dir)
	if err != nil {
		return nil, nil, err
	}
	if err := s.Configure(conf); err != nil {
		return nil, nil, err
	}
	if err := s.Start(ctx); err != nil {
		return nil, nil, err
	}
	return &running{socket: dir, stop: s.Close, cpu: func() (time.Duration, error) { return meter.Tree(s.PIDs()...) }}, s, nil
}

// at is the running side of a round, after all were made anew if it is time.
func (b *suite) at(ctx context.Context, round int, name string) (*running, error) {
	if round/freshEvery != b.age {
		if err := b.stop(); err != nil {
			return nil, err
		}
		b.age = round / freshEvery
		for _, side := range b.all() {
			b.s.Step("%s is made anew", side.name)
			dir, err := b.s.Dir("pg")
			if err != nil {
				return nil, err
			}
			r, err := side.start(ctx, fmt.Sprintf("%s/%s%d", dir, side.name, b.age), "")
			if err != nil {
				return nil, fmt.Errorf("start %s: %w", side.name, err)
			}
			b.sides[side.name] = r
		}
	}
	return b.sides[name], nil
}

func (b *suite) stop() (err error) {
	for _, name := range cluster.SortedKeys(b.sides) {
		err = errors.Join(err, b.sides[name].stop())
		delete(b.sides, name)
	}
	return err
}

// load is what a case does to a side that is made anew in some rounds.
type load func(ctx context.Context, r *running, round int) (paired.Sample, error)

// compare makes a case of some sides.
func (b *suite) compare(name string, load load, sides ...string) paired.Case {
	c := paired.Case{Name: name}
	for _, side := range b.all() {
		for _, wanted := range sides {
			if side.name != wanted {
				continue
			}
			c.Arms = append(c.Arms, paired.Arm{Name: side.name, Settings: side.settings, Run: func(ctx context.Context, round int) (paired.Sample, error) {
				r, err := b.at(ctx, round, side.name)
				if err != nil {
					return paired.Sample{}, err
				}
				if _, err := b.programs.SQL(r.socket, "CHECKPOINT"); err != nil {
					return paired.Sample{}, err
				}
				return load(ctx, r, round)
			}})
		}
	}
	return c
}

// position is where a side's log ends.
func (b *suite) position(r *running) (wal.LSN, error) {
	text, err := b.programs.SQL(r.socket, "SELECT pg_current_wal_insert_lsn()")
	if err != nil {
		return 0, err
	}
	return wal.ParseLSN(text)
}

// costs runs work and adds what it cost for each of n transactions.
func (b *suite) costs(r *running, n int, m map[string]float64, work func() error) error {
	before, err := b.position(r)
	if err != nil {
		return err
	}
	cpu, err := r.cpu()
	if err != nil {
		return err
	}
	flushes, counted := stage.Flushes(b.s)
	var syncs int64
	if r.syncs != nil {
		syncs = r.syncs()
	}
	if err := work(); err != nil {
		return err
	}
	used, err := r.cpu()
	if err != nil {
		return err
	}
	after, err := b.position(r)
	if err != nil {
		return err
	}
	if counted {
		flushed, _ := stage.Flushes(b.s)
		m["disk_flushes_per_txn"] = float64(flushed-flushes) / float64(n)
	}
	m["cpu_us_per_txn"] = float64((used - cpu).Microseconds()) / float64(n)
	m["wal_bytes_per_txn"] = float64(after-before) / float64(n)
	if r.syncs != nil {
		m["flushes_per_txn"] = float64(r.syncs()-syncs) / float64(n)
	}
	return nil
}

// bench runs pgbench as fast as its clients get answers, and counts.
func (b *suite) bench(r *running, clients, txns int, args ...string) (s paired.Sample, err error) {
	ended, m, err := b.logged(r, clients, txns, args...)
	if err != nil {
		return s, err
	}
	// How long each took is no latency: a client that waits asks for nothing.
	m["tps"] = float64(len(ended)) / span(ended).Seconds()
	return paired.Sample{Metrics: m}, nil
}

// logged runs pgbench, which logs every transaction.
func (b *suite) logged(r *running, clients, txns int, args ...string) (all []ended, m map[string]float64, err error) {
	dir, err := b.s.Dir("pgbench")
	if err != nil {
		return nil, nil, err
	}
	if err := b.programs.Account.Own(dir); err != nil {
		return nil, nil, err
	}
	prefix, m := filepath.Join(dir, "log"), map[string]float64{}
	args = append([]string{"-n", "-M", "prepared", "-c", fmt.Sprint(clients), "-t", fmt.Sprint(txns / clients), "-l", "--log-prefix", prefix}, args...)
	err = b.costs(r, txns/clients*clients, m, func() error {
		_, err := b.programs.Exec(r.socket, "pgbench", args...)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if all, err = readLogs(prefix); err != nil {
		return nil, nil, err
	}
	return all, m, os.RemoveAll(dir)
}

// span is the time from the first begin to the last end.
func span(all []ended) time.Duration {
	first, last := all[0].at.Add(-all[0].took), all[0].at
	for _, e := range all {
		if begun := e.at.Add(-e.took); begun.Before(first) {
			first = begun
		}
		if e.at.After(last) {
			last = e.at
		}
	}
	return last.Sub(first)
}

func (b *suite) tpcb(clients, txns int) load {
	return func(_ context.Context, r *running, _ int) (paired.Sample, error) { return b.bench(r, clients, txns) }
}

func (b *suite) selects(_ context.Context, r *running, _ int) (s paired.Sample, err error) {
	if err := b.warm(r); err != nil {
		return s, err
	}
	return b.bench(r, 4, b.cfg.Selects, "-S")
}

// warm has every page of the accounts in the buffers, as far as they have room.
func (b *suite) warm(r *running) error {
	_, err := b.programs.SQL(r.socket, "SELECT count(*) FROM pgbench_accounts")
	return err
}

// rate runs SQL over all rows and tells rows per second.
func (b *suite) rate(r *running, sql string) (paired.Sample, error) {
	m, begin := map[string]float64{}, time.Now()
	err := b.costs(r, b.cfg.Rows, m, func() error {
		_, err := b.programs.SQL(r.socket, sql)
		return err
	})
	m["rows_per_s"] = float64(b.cfg.Rows) / time.Since(begin).Seconds()
	return paired.Sample{Metrics: m}, err
}

// copy loads rows by COPY from a program, so that no file is in the way.
func (b *suite) copy(_ context.Context, r *running, _ int) (paired.Sample, error) {
	return b.rate(r, fmt.Sprintf(`TRUNCATE copied; COPY copied FROM PROGRAM 'seq 1 %d | sed "s/.*/&,a text of some length &,and another/"' (FORMAT csv)`, b.cfg.Rows))
}

// index indexes what copy has loaded.
func (b *suite) index(ctx context.Context, r *running, round int) (s paired.Sample, err error) {
	rows, err := b.programs.SQL(r.socket, "SELECT count(*) FROM copied")
	if err != nil {
		return s, err
	}
	if rows != fmt.Sprint(b.cfg.Rows) { // The copy comes later in this round, or is not wanted.
		if _, err := b.copy(ctx, r, round); err != nil {
			return s, err
		}
	}
	return b.rate(r, "DROP INDEX IF EXISTS copied_id; CREATE INDEX copied_id ON copied (id)")
}

// plot draws log per transaction.
func (b *suite) plot() {
	series := bench.Series{Figure: "wal-per-transaction", Name: "TPC-B, 16 clients", X: "side", Y: "bytes of log per transaction"}
	for _, side := range b.all() {
		values := paired.Values(b.s.Result.Rounds, "tpcb/c16", side.name, "", "wal_bytes_per_txn")
		if len(values) > 0 {
			series.Labels = append(series.Labels, side.name)
			series.XS = append(series.XS, float64(len(series.XS)))
			series.YS = append(series.YS, paired.SpreadOf(values).Median)
		}
	}
	b.s.Plot(series)
}
