package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/varvedb/varve/bench/meter"
	"github.com/varvedb/varve/bench/postgres"
	"github.com/varvedb/varve/compute/endpoint"
	"github.com/varvedb/varve/compute/pgdata"
	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/wal/quorum"
)

// System is all of Varve with an imported cluster: three safekeepers, a pageserver, and
// endpoints when they are asked for.
type System struct {
	*Safekeepers
	*Pageserver
	World    *meter.World // of the pageserver
	Identity quorum.Identity
	Dir      string
	lives    int
}

// StartSystem starts it below dir, and imports a stopped data directory.
func StartSystem(ctx context.Context, dir, data string) (*System, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	keepers, err := StartSafekeepers(ctx, dir, 3)
	if err != nil {
		return nil, err
	}
	s := &System{Safekeepers: keepers, Dir: dir}
	if s.World, err = NewWorld(filepath.Join(dir, "ps.d")); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	if s.Pageserver, err = StartPageserver(ctx, s.World.Env, filepath.Join(dir, "ps"), lsm.Options{}, keepers.Addresses()); err != nil {
		return nil, errors.Join(err, keepers.Stop())
	}
	s.Identity = quorum.Identity{Tenant: Tenant, Timeline: Main, PGVersion: 15}
	imported, err := s.Client.Import(ctx, pageapi.ImportRequest{Timeline: Main, Path: data})
	if err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	s.Identity.SystemID, s.Identity.Start = imported.SystemID, imported.LSN
	return s, nil
}

// Stop ends pageserver and safekeepers.
func (s *System) Stop() error {
	var err error
	if s.Pageserver != nil {
		err = s.Pageserver.Stop()
	}
	return errors.Join(err, s.Safekeepers.Stop())
}

// Step is something that a start went through, and how long it took.
type Step struct {
	Name string
	Took time.Duration
}

// Life is a running endpoint.
type Life struct {
	endpoint.Ready
	Dir      string        // of its socket
	Steps    []Step        // of its start
	ToQuery  time.Duration // from the call of Start to the first answered query
	Built    pgdata.Stats
	cancel   context.CancelFunc
	ended    chan error
	stepped  time.Time
	stepName string
}

// Start starts the endpoint of the head and waits until it has answered a query.
func (s *System) Start(ctx context.Context) (*Life, error) {
	programs, err := postgres.Find(ctx)
	if err != nil {
		return nil, err
	}
	s.lives++
	dir := filepath.Join(s.Dir, fmt.Sprint("e", s.lives))
	l := &Life{Dir: filepath.Join(dir, "s"), ended: make(chan error, 1)}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make directory of endpoint: %w", err)
	}
	if err := programs.Account.MakeDir(l.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("make directory of endpoint: %w", err)
	}
	cfg := endpoint.Config{
		Name: "bench", Dir: filepath.Join(dir, "d"), Identity: s.Identity, Pageserver: s.Addr, Proposer: 100, Safekeepers: s.Members(), SocketDir: l.Dir,
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l.cancel = cancel
	ready := make(chan endpoint.Ready, 1)
	events := endpoint.Events{
		Step: l.step, Ready: func(r endpoint.Ready) { ready <- r }, Built: func(stats pgdata.Stats) { l.Built = stats },
	}
	begin := time.Now()
	l.step("making the directory")
	go func() { l.ended <- endpoint.Run(run, s.World.Env, cfg, events) }()
	select {
	case l.Ready = <-ready:
	case err := <-l.ended:
		cancel()
		return nil, err
	}
	l.step("first query")
	if err := postgres.AwaitQuery(ctx, l.Dir); err != nil {
		return nil, errors.Join(err, l.Stop())
	}
	l.step("")
	l.ToQuery = time.Since(begin)
	return l, nil
}

// step ends the step before and begins another.
func (l *Life) step(name string) {
	if now := time.Now(); l.stepName != "" {
		l.Steps = append(l.Steps, Step{l.stepName, now.Sub(l.stepped)})
	}
	l.stepName, l.stepped = name, time.Now()
}

// Stop ends the endpoint in order.
func (l *Life) Stop() error {
	l.cancel()
	return <-l.ended
}
