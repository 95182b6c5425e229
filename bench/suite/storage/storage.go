package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/bench/cluster"
	"github.com/varvedb/varve/bench/paired"
	"github.com/varvedb/varve/bench/pglog"
	"github.com/varvedb/varve/bench/postgres"
	"github.com/varvedb/varve/bench/stage"
	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// Config says how much is stored.
type Config struct {
	TPCB    stage.TPCB
	Pages   int // of the synthetic relation
	Idle    int // branches
	Changed int // branches that each change a share of the pages
	Share   float64
}

// Full is the measurement of record.
var Full = Config{TPCB: stage.FullTPCB, Pages: 10_000, Idle: 100, Changed: 30, Share: 0.01}

// Quick is for smoke.
var Quick = Config{TPCB: stage.QuickTPCB, Pages: 2000, Idle: 100, Changed: 30, Share: 0.01}

// Suite describes the suite.
func Suite() bench.Suite {
	return bench.Suite{
		Name: "storage", Letter: "k", Weight: 10,
		Title: "bytes stored for images, history and branches, after all merges",
		About: "Sizes are those of layers, counted, so one round would do; what merges have replaced is not in them, and the whole history is kept: none of it is past its horizon. Page data is pgbench's, a bare cluster's catalogues, and random bytes, which do not compress. " +
			"History is what TPC-B's log, as Varve's endpoints write it, has become in layers. pgbackrest keeps a full backup and the same log's segments, compressed by lz4 as ours. " +
			"What pages cost to read is in suite getpage: size is not bought there.",
		Run: bench.Sized(Full, Quick, Run),
	}
}

type suite struct {
	s   *bench.Session
	cfg Config
}

// Run measures. What is made is made once: the bytes are the same in every round.
func Run(ctx context.Context, s *bench.Session, cfg Config) error {
	b := &suite{s: s, cfg: cfg}
	cases, err := s.Build(ctx, bench.Builder{Names: []string{"images/random"}, Build: b.random},
		bench.Builder{Names: []string{idleName(cfg.Idle), changedName(cfg.Changed)}, Build: b.branches},
		bench.Builder{Names: []string{"images/pgbench", "history/pgbench", "images/catalogues", "all/pgbench"}, Build: b.pgbench})
	if err != nil {
		return err
	}
	return s.Measure(ctx, cases...)
}

const settings = "lz4 blocks of 16 KiB; a block that lz4 does not make a sixteenth smaller is stored as it is"

// known is a case of one arm whose numbers are known.
func known(name string, metrics map[string]float64) paired.Case {
	return paired.Case{Name: name, Arms: []paired.Arm{arm("varve", settings, metrics)}}
}

func arm(name, settings string, metrics map[string]float64) paired.Arm {
	return paired.Arm{Name: name, Settings: settings, Run: func(context.Context, int) (paired.Sample, error) {
		return paired.Sample{Metrics: metrics}, nil
	}}
}

// random stores pages that do not compress.
func (b *suite) random(ctx context.Context) ([]paired.Case, error) {
	p, err := b.relation(ctx, "random")
	if err != nil {
		return nil, err
	}
	return []paired.Case{known("images/random", map[string]float64{
		"stored_per_logical": float64(p.Under.Info().Bytes) / float64(p.Blocks*pgwal.PageSize),
	})}, nil
}

func (b *suite) relation(ctx context.Context, name string) (*cluster.Pages, error) {
	return stage.Pages(ctx, b.s, name, cluster.PagesConfig{Blocks: b.cfg.Pages})
}

// stored is the size of all objects of a bucket.
func stored(ctx context.Context, p *cluster.Pages) (float64, error) {
	objects, err := p.World.Bucket.List(ctx, "")
	sum := int64(0)
	for _, o := range objects {
		sum += o.Size
	}
	return float64(sum), err
}

func idleName(n int) string { return fmt.Sprint("branches/idle", n) }

func changedName(n int) string { return fmt.Sprint("branches/changed", n) }

// branches compares what is stored with and without branches.
func (b *suite) branches(ctx context.Context) ([]paired.Case, error) {
	measure := func(name string, n int, change int) (paired.Case, error) {
		p, err := b.relation(ctx, name)
		if err != nil {
			return paired.Case{}, err
		}
		one, err := stored(ctx, p)
		if err != nil {
			return paired.Case{}, err
		}
		for i := range n {
			var id wal.TimelineID
			binary.BigEndian.PutUint32(id[:], uint32(i+100))
			c, err := p.Branch(ctx, id)
			if err != nil {
				return paired.Case{}, err
			}
			if change == 0 {
				continue
			}
			// One update of 100 bytes to every page that changes.
			if _, err := c.Update(ctx, change, 100, func(k int) int { return (i*change + k) % p.Blocks }); err != nil {
				return paired.Case{}, err
			}
			if err := c.Timeline.Flush(ctx); err != nil {
				return paired.Case{}, err
			}
		}
		all, err := stored(ctx, p)
		return known(name, map[string]float64{"stored_per_one": all / one, "bytes_per_branch": (all - one) / float64(n)}), err
	}
	idle, err := measure(idleName(b.cfg.Idle), b.cfg.Idle, 0)
	if err != nil {
		return nil, err
	}
	changed, err := measure(changedName(b.cfg.Changed), b.cfg.Changed, int(b.cfg.Share*float64(b.cfg.Pages)))
	return []paired.Case{idle, changed}, err
}

// pgbench stores a real cluster and its history.
func (b *suite) pgbench(ctx context.Context) ([]paired.Case, error) {
	log, err := stage.Log(ctx, b.s, b.cfg.TPCB)
	if err != nil {
		return nil, err
	}
	logged := float64(len(log.Bytes))
	dir, err := b.s.Dir("pgbench")
	if err != nil {
		return nil, err
	}
	i, err := log.Import(ctx, dir, lsm.Options{})
	if err != nil {
		return nil, err
	}
	defer i.Store.Close(ctx)
	images := float64(i.Under.Info().Bytes)
	logical, err := logicalBytes(ctx, i.Timeline, log.Start)
	if err != nil {
		return nil, err
	}
	if _, err := i.Take(ctx, log); err != nil {
		return nil, err
	}
	if err := i.Under.Compact(ctx); err != nil {
		return nil, err
	}
	all := float64(i.Under.Info().Bytes)
	total := paired.Case{Name: "all/pgbench", Arms: []paired.Arm{arm("varve", settings, map[string]float64{
		"stored_per_logical_and_wal": all / (logical + logged), "stored_bytes": all,
	})}}
	total = b.peers(total, log)
	catalogues, err := b.catalogues(ctx)
	if err != nil {
		return nil, err
	}
	return []paired.Case{
		known("images/pgbench", map[string]float64{"stored_per_logical": images / logical, "logical_mib": logical / (1 << 20)}),
		known("history/pgbench", map[string]float64{
			"stored_per_wal_byte": (all - images) / logged,
		}),
		catalogues, total,
	}, nil
}

// logicalBytes is the size of all pages of relations.
func logicalBytes(ctx context.Context, t *timeline.Timeline, lsn wal.LSN) (float64, error) {
	blocks := 0.0
	lo, hi := pgkey.AllSizes()
	err := t.Values(ctx, lo, hi, lsn, func(key lsm.Key, value []byte) error {
		size, err := timeline.ParseRelationSize(key, value)
		blocks += float64(size.Blocks)
		return err
	})
	return blocks * pgwal.PageSize, err
}

// catalogues imports a bare cluster, which is catalogues only.
func (b *suite) catalogues(ctx context.Context) (paired.Case, error) {
	dir, err := b.s.Dir("pg")
	if err != nil {
		return paired.Case{}, err
	}
	log, err := pglog.Record(ctx, dir+"/bare", pglog.FPIOff, pglog.Load{Scale: 0})
	if err != nil {
		return paired.Case{}, err
	}
	imported, err := b.s.Dir("bare")
	if err != nil {
		return paired.Case{}, err
	}
	i, err := log.Import(ctx, imported, lsm.Options{})
	if err != nil {
		return paired.Case{}, err
	}
	defer i.Store.Close(ctx)
	logical, err := logicalBytes(ctx, i.Timeline, log.Start)
	return known("images/catalogues", map[string]float64{"stored_per_logical": float64(i.Under.Info().Bytes) / logical}), err
}

// peers adds the data directory as it is, and a pgbackrest-like repository where that is
// installed: base and log, compressed.
func (b *suite) peers(c paired.Case, plain *pglog.Log) paired.Case {
	base, err := treeBytes(plain.Before)
	if err != nil {
		b.s.Miss("data-directory", err.Error())
		return c
	}
	c.Arms = append(c.Arms, arm("data-directory", "the cluster's files before the load, and the log", map[string]float64{"stored_bytes": base + float64(len(plain.Bytes))}))
	if _, err := exec.LookPath("pgbackrest"); err != nil {
		b.s.Miss("pgbackrest", "it is not installed")
		return c
	}
	size, err := b.pgbackrest(plain)
	if err != nil {
		b.s.Miss("pgbackrest", err.Error())
		return c
	}
	c.Arms = append(c.Arms, arm("pgbackrest", "offline full backup, lz4, and the load's segments, lz4", map[string]float64{"stored_bytes": size}))
	return c
}

func treeBytes(dir string) (float64, error) {
	sum := int64(0)
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return float64(sum), err
}

// pgbackrest makes an offline full backup of the cluster, and pushes the load's segments.
func (b *suite) pgbackrest(plain *pglog.Log) (float64, error) {
	programs, err := postgres.Find(context.Background())
	if err != nil {
		return 0, err
	}
	dir, err := b.s.Dir("pgbackrest")
	if err != nil {
		return 0, err
	}
	for _, sub := range []string{"repo", "log", "lock"} {
		if err := programs.Account.MakeDir(filepath.Join(dir, sub), 0o755); err != nil {
			return 0, err
		}
	}
	common := []string{"--stanza=b", "--repo1-path=" + dir + "/repo", "--log-path=" + dir + "/log", "--lock-path=" + dir + "/lock",
		"--pg1-path=" + plain.Before, "--log-level-console=error"}
	run := func(args ...string) error {
		return programs.Shell("pgbackrest", append(slices.Clone(common), args...)...)
	}
	if err := run("--no-online", "stanza-create"); err != nil {
		return 0, err
	}
	if err := run("--no-online", "--compress-type=lz4", "--type=full", "backup"); err != nil {
		return 0, err
	}
	segments, err := filepath.Glob(filepath.Join(plain.WALDir, "0000*"))
	if err != nil {
		return 0, err
	}
	for _, segment := range segments {
		if err := run("--compress-type=lz4", "archive-push", segment); err != nil {
			return 0, err
		}
	}
	size, err := treeBytes(dir + "/repo")
	return size, errors.Join(err, os.RemoveAll(dir))
}
