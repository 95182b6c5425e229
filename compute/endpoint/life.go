package endpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/varvedb/varve/compute/pgdata"
	"github.com/varvedb/varve/pageserver/basebackup"
	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
)

// Events tells what happens in a life. Fields may be nil.
type Events struct {
	Step    func(text string)    // a step that may take long begins
	Ready   func(Ready)          // PostgreSQL takes connections, and commits return
	Stopped func(end wal.LSN)    // an ordinary stop: all of the log, up to end, is committed
	Built   func(s pgdata.Stats) // the directory is there
}

// Ready describes a running PostgreSQL.
type Ready struct {
	ConnString string
	User       string         // who may log in; of a read-write life a superuser, or a role with REPLICATION
	Start      wal.LSN        // what it started from
	Term       wal.Term       // 0: read-only
	PID        int            // of the postmaster
	CommitLSN  func() wal.LSN // of the term, whenever it is called; nil: read-only
}

func (e Events) withDefaults() Events {
	if e.Step == nil {
		e.Step = func(string) {}
	}
	if e.Ready == nil {
		e.Ready = func(Ready) {}
	}
	if e.Stopped == nil {
		e.Stopped = func(wal.LSN) {}
	}
	if e.Built == nil {
		e.Built = func(pgdata.Stats) {}
	}
	return e
}

// life is one run of an endpoint.
type life struct {
	e       env.Env
	cfg     Config
	events  Events
	client  *pageapi.Client
	pages   *pageapi.Timeline // of this branch
	bin     pgdata.Binaries
	account pgdata.Account
	lock    *os.File
	users   []string // who may stream PostgreSQL's log, those to try first in front
}

// Run runs one PostgreSQL until ctx ends, which stops it in order and returns nil, or
// until something goes wrong. A ctx that ends because of [ErrAbandoned] kills it.
func Run(ctx context.Context, e env.Env, cfg Config, events Events) error {
	l := &life{e: e, cfg: cfg.withDefaults(), events: events.withDefaults()}
	err := l.begin(ctx)
	if err == nil {
		err = l.live(ctx)
	}
	return errors.Join(err, l.end()) // who runs it names it
}

// end gives back what begin took, as far as it came.
func (l *life) end() error {
	if l.client != nil {
		// Only reads went over it.
		_ = l.client.Close()
	}
	if l.lock == nil {
		return nil
	}
	return l.lock.Close()
}

// live ends with the directory gone, but after an ordinary stop of a read-write life.
func (l *life) live(ctx context.Context) error {
	var err error
	if l.cfg.At == 0 {
		if err = l.readWrite(ctx); err == nil {
			return nil
		}
	} else {
		err = l.readOnly(ctx)
	}
	return errors.Join(err, pgdata.Discard(l.cfg.dataDir()))
}

// begin checks all that can be checked before a term is won, and throws away what an
// earlier life left.
func (l *life) begin(ctx context.Context) (err error) {
	if err := l.cfg.validate(); err != nil {
		return err
	}
	if l.bin, err = pgdata.FindBinaries(ctx, l.cfg.PGBin); err != nil {
		return err
	}
	if l.account, err = pgdata.FindAccount(); err != nil {
		return err
	}
	for _, step := range []func() error{l.makeDirs, l.takeLock, l.discard, l.cfg.checkFree} {
		if err := step(); err != nil {
			return err
		}
	}
	if err := l.checkAccess(ctx); err != nil {
		return err
	}
	if l.client, err = pageapi.Dial(ctx, l.e, l.cfg.Pageserver); err != nil {
		return err
	}
	l.pages = l.client.Timeline(l.cfg.Identity.Timeline)
	return nil
}

func (l *life) takeLock() error {
	lock, err := os.OpenFile(filepath.Join(l.cfg.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lock endpoint directory: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return errors.Join(fmt.Errorf("endpoint directory %s is %w by a running endpoint: stop that one first", l.cfg.Dir, ErrInUse), lock.Close())
	}
	l.lock = lock
	return nil
}

// discard ends what is left of an earlier life and removes its directory.
func (l *life) discard() error {
	if err := EndLeftovers(l.cfg.Dir); err != nil {
		return err
	}
	if err := os.Rename(l.cfg.logPath(), l.cfg.logPath()+".old"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keep the log of the life before: %w", err)
	}
	if err := l.unlockSocket(); err != nil {
		return err
	}
	return pgdata.Discard(l.cfg.dataDir())
}

// unlockSocket removes the socket's lock file if an earlier life left it: its second
// line names the data directory. PostgreSQL itself does so only once the process id
// in it is free, which takes as long as somebody takes to reap a killed postmaster.
func (l *life) unlockSocket() error {
	path := l.cfg.socketPath() + ".lock"
	body, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read lock of the socket: %w", err)
	}
	lines := strings.Split(string(body), "\n")
	if len(lines) < 2 || lines[1] != l.cfg.dataDir() {
		return nil
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove lock of the socket of a life that has ended: %w", err)
	}
	return nil
}

// checkAccess tells whether PostgreSQL can work in the endpoint's directory.
func (l *life) checkAccess(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, l.bin.Path("postgres"), "--version")
	cmd.Dir = l.cfg.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: l.account.Credential()}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("start %s in %s: %w: PostgreSQL's user (postgres, if we are root) must be able to enter that directory: choose another or open its parents to all (chmod o+x)",
			cmd.Path, l.cfg.Dir, err)
	}
	return nil
}

// startPostgres builds the directory for the state at an LSN and starts PostgreSQL
// on it. Once it returns a process, that must be killed.
func (l *life) startPostgres(ctx context.Context, mode pgdata.Mode, at wal.LSN, state *basebackup.State) (*process, error) {
	settings := pgdata.Settings{
		Mode: mode, Port: l.cfg.Port, SocketDir: l.cfg.SocketDir, ListenAddress: l.cfg.ListenAddress,
		Floors: pgdata.FloorsOf(state.Control),
	}
	l.events.Step(fmt.Sprintf("fetching all pages as of %v", at))
	stats, err := pgdata.Build(ctx, l.cfg.dataDir(), l.account, pgdata.Contents{
		Settings: settings,
		Files:    append(state.Files, state.Segments()...),
		Pages:    pagesAt{l.pages, at},
	})
	if err != nil {
		return nil, err
	}
	l.events.Built(stats)
	if l.users, err = pgdata.StreamRoles(l.cfg.dataDir()); err != nil {
		return nil, err
	}
	if len(l.users) == 0 {
		return nil, errNoRole
	}
	l.events.Step("starting PostgreSQL " + l.bin.Version)
	p, err := launch(l.bin, l.account, l.cfg.dataDir(), l.cfg.logPath(), settings)
	if err != nil {
		return nil, err
	}
	if err := p.waitReady(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("wait until postgres takes connections: %w", err), p.kill())
	}
	return p, nil
}

func (l *life) ready(r Ready) {
	l.cfg.Logger.Info("endpoint is ready", "endpoint", l.cfg.Name, "start", r.Start.String(), "term", uint64(r.Term), "pid", r.PID)
	r.User = l.users[0]
	r.ConnString = l.cfg.connString(r.User)
	l.events.Ready(r)
}
