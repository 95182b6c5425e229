package control

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"github.com/varvedb/varve/compute/endpoint"
	"github.com/varvedb/varve/compute/pgdata"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
)

// MainBranch is the branch that a new data directory begins with.
const MainBranch = "main"

// dirPathMax is what the data directory's path may measure: a unix socket's may
// measure 107 bytes on Linux, and these are our longest names of sockets.
const dirPathMax = 107 - max(len("/run/safekeeper-5.sock"), len("/run/pg/.s.PGSQL.65535"), len("/run/endpoint-65535.sock"))

// Config says what a supervisor runs.
type Config struct {
	Dir         string // absolute; made if missing
	Safekeepers int    // of a new directory: 1, 3 or 5
	Binary      string // the program whose subcommands are the roles
	PGBin       string // directory of PostgreSQL's programs; empty: found
	Bucket      string // a directory or an s3:// location; empty: the one it had, or bucket/ in Dir
	Port        int    // of the main branch's endpoint; 0: the one it had, or any free one
	Window      Window // what is not set stays as it was
	// IndexCacheBytes is lsm.Options.IndexCacheBytes of the pageserver; 0: its default.
	IndexCacheBytes int64

	Progress func(step string) // told before each step that takes a while
	// Ready is told once, when all serves: the main branch's endpoint, or why there
	// is none.
	Ready func(main *EndpointStatus, why error)
}

// Supervisor runs a data directory. Make it with [Run].
type Supervisor struct {
	cfg     Config
	env     env.Env
	state   *state
	hold    *os.File // see holdDir
	project project
	bucket  string // its location
	fresh   bool   // the directory got its main branch in this run
	storage *storage

	roles    []*role
	stopRole context.CancelFunc

	busy keyedLock // by branch name or endpoint id: one operation on each at a time

	mu          sync.Mutex
	endpoints   map[string]*started // by id
	starting    map[string]*started // by id: those that do not serve yet
	readerCount int                 // readers started so far, to number them
	stopping    bool                // no endpoint is started any more

	stop    context.CancelFunc
	stopped sync.Once
}

// Run supervises a data directory until ctx ends or a client asks for shutdown.
func Run(ctx context.Context, cfg Config) (err error) {
	if err := Check(ctx, cfg); err != nil {
		return err
	}
	binaries, err := pgdata.FindBinaries(ctx, cfg.PGBin)
	if err != nil {
		return err
	}
	cfg.PGBin = binaries.Dir
	s, err := open(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.state.Close(), s.hold.Close()) }()
	ctx, s.stop = context.WithCancel(ctx)
	defer s.stop()
	// Deferred from here on: what was started is stopped, whatever fails below.
	defer s.Stop()
	if err := s.clean(); err != nil {
		return err
	}
	if err := s.checkMainPort(); err != nil {
		return err
	}
	if err := s.startRoles(); err != nil {
		return err
	}
	if err := s.bootstrap(ctx); err != nil {
		return err
	}
	served := make(chan error, 1)
	server := &http.Server{Handler: handler(s)}
	listener, err := listen(SocketPath(cfg.Dir))
	if err != nil {
		return err
	}
	go func() { served <- server.Serve(listener) }()
	if err := s.startMain(ctx); err != nil {
		return errors.Join(err, server.Close())
	}
	select {
	case <-ctx.Done():
	case err := <-served:
		return fmt.Errorf("serve %s: %w", SocketPath(cfg.Dir), err)
	}
	s.Stop()
	// The answer to the client that asked for the shutdown is still under way.
	return server.Shutdown(context.WithoutCancel(ctx))
}

// open takes hold of the data directory, making it if it is new.
func open(ctx context.Context, cfg Config) (*Supervisor, error) {
	for _, dir := range []string{"", "run", "log", "endpoints"} {
		// Postgres, which refuses to be root, must be able to reach its own part.
		if err := os.MkdirAll(filepath.Join(cfg.Dir, dir), 0o755); err != nil {
			return nil, fmt.Errorf("make data directory: %w: name one that you may write to with --dir", err)
		}
	}
	st, err := openState(filepath.Join(cfg.Dir, "control.db"))
	if err != nil {
		return nil, err
	}
	s := &Supervisor{cfg: cfg, state: st, endpoints: map[string]*started{}, starting: map[string]*started{}, stopRole: func() {}}
	if err := s.openProject(ctx); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	s.storage = &storage{env: s.env}
	return s, nil
}

// openProject reads what the directory is, and decides it if the directory is new: last,
// so that what was asked for in vain is not remembered.
func (s *Supervisor) openProject(ctx context.Context) error {
	p, found, err := s.state.project()
	if err != nil {
		return err
	}
	if !found {
		rand.Read(p.Tenant[:])
		p.Safekeepers = s.cfg.Safekeepers
	}
	was := p.Window
	p.Window = s.cfg.Window.over(was).over(defaultWindow)
	s.project = p
	if s.hold, err = holdAfterLeftovers(ctx, s.cfg); err != nil {
		return err
	}
	if err = s.openBucket(ctx, !found); err == nil && (!found || s.project.Window != was) {
		err = s.state.setProject(s.project)
	}
	if err != nil {
		return errors.Join(err, s.hold.Close())
	}
	return nil
}

// holdAfterLeftovers takes hold of the directory when the children of a supervisor
// that was killed have ended: they notice at once, and tidy up.
func holdAfterLeftovers(ctx context.Context, cfg Config) (*os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, leftoverWait)
	defer cancel()
	hold, err := holdDir(ctx, cfg.Dir, func() { cfg.Progress("waiting for the processes of a killed varve to end") })
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, Errorf(CodeTimeout, "processes of a killed varve hold %s and do not end: end them with `fuser -k %s/run/lock`", cfg.Dir, cfg.Dir)
	}
	return hold, err
}

// clean removes what a supervisor that was killed left, and makes the directory of
// PostgreSQL's sockets, where PostgreSQL's user may write. Nobody but us is at work
// in the directory, but maybe Postgres processes whose endpoint was killed too.
func (s *Supervisor) clean() error {
	dirs, err := filepath.Glob(filepath.Join(s.cfg.Dir, "endpoints", "*"))
	if err != nil {
		return fmt.Errorf("look for old endpoints: %w", err)
	}
	for _, dir := range dirs {
		if err := endpoint.EndLeftovers(dir); err != nil {
			return err
		}
	}
	if err := s.removeOldReaders(); err != nil {
		return err
	}
	// With their lock files, which name processes that may be others by now.
	if err := os.RemoveAll(socketDir(s.cfg.Dir)); err != nil {
		return fmt.Errorf("remove dead sockets: %w", err)
	}
	account, err := pgdata.FindAccount()
	if err != nil {
		return err
	}
	if err := account.MakeDir(socketDir(s.cfg.Dir), 0o755); err != nil {
		return fmt.Errorf("make socket directory: %w", err)
	}
	return nil
}

func socketDir(dir string) string { return filepath.Join(dir, "run", "pg") }

func listen(path string) (net.Listener, error) {
	// The state file's lock is ours, so a socket here is a dead one.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove dead socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for commands: %w", err)
	}
	return l, nil
}

// startRoles starts safekeepers and pageserver, in that order.
func (s *Supervisor) startRoles() error {
	ctx, cancel := context.WithCancel(context.Background())
	s.stopRole = cancel
	for i := 1; i <= s.project.Safekeepers; i++ {
		name := fmt.Sprintf("safekeeper-%d", i)
		s.cfg.Progress("starting " + name)
		err := s.startRole(ctx, name, s.safekeeperAddr(i), "safekeeper",
			"--id", fmt.Sprint(i), "--data", filepath.Join(s.cfg.Dir, name), "--bucket", s.bucket, "--listen", s.safekeeperAddr(i))
		if err != nil {
			return err
		}
	}
	s.cfg.Progress("starting pageserver")
	args := []string{
		"--data", filepath.Join(s.cfg.Dir, "pageserver"), "--bucket", s.bucket,
		"--tenant", s.project.Tenant.String(), "--listen", s.pageserverAddr(),
	}
	args = append(args, s.project.Window.args()...)
	if s.cfg.IndexCacheBytes != 0 {
		args = append(args, fmt.Sprintf("--index-cache=%d", s.cfg.IndexCacheBytes))
	}
	for _, addr := range s.safekeeperAddrs() {
		args = append(args, "--safekeeper", addr)
	}
	if err := s.startRole(ctx, "pageserver", s.pageserverAddr(), "pageserver", args...); err != nil {
		return err
	}
	s.storage.role = s.roles[len(s.roles)-1]
	return nil
}

func (s *Supervisor) startRole(ctx context.Context, name, addr, subcommand string, args ...string) error {
	r, err := startRole(ctx, name, addr, func() (*process, error) {
		return s.program().start(name, s.logPath(name), append([]string{subcommand}, args...)...)
	})
	if err != nil {
		return err
	}
	s.roles = append(s.roles, r)
	return nil
}

// program is what safekeepers and pageserver are started with.
func (s *Supervisor) program() program {
	return program{binary: s.cfg.Binary, hold: s.hold, killAfter: killRoleAfter}
}

// endpointProgram is what endpoints are started with. An endpoint bounds its own stop, so
// that only one that hangs is killed from here.
func (s *Supervisor) endpointProgram(onStep func(text string)) program {
	return program{binary: s.cfg.Binary, hold: s.hold, killAfter: endpoint.StopMax, onStep: onStep}
}

func (s *Supervisor) logPath(name string) string {
	return filepath.Join(s.cfg.Dir, "log", name+".log")
}

func (s *Supervisor) socketAddr(name string) string {
	return "unix:" + filepath.Join(s.cfg.Dir, "run", name+".sock")
}

func (s *Supervisor) safekeeperAddr(i int) string {
	return s.socketAddr(fmt.Sprintf("safekeeper-%d", i))
}

func (s *Supervisor) safekeeperAddrs() (addrs []string) {
	for i := 1; i <= s.project.Safekeepers; i++ {
		addrs = append(addrs, s.safekeeperAddr(i))
	}
	return addrs
}

func (s *Supervisor) pageserverAddr() string { return s.socketAddr("pageserver") }

// Stop ends endpoints, then pageserver and safekeepers, and makes Run return. It
// returns once all are gone.
func (s *Supervisor) Stop() {
	s.stopped.Do(func() {
		s.stopEndpoints()
		s.stopRole()
		for _, r := range s.roles {
			r.wait()
		}
		s.storage.close()
		s.stop()
	})
}

// Status returns what runs and what is stored.
func (s *Supervisor) Status(ctx context.Context) (Status, error) {
	status := Status{Dir: s.cfg.Dir, PID: os.Getpid(), Tenant: s.project.Tenant, Bucket: s.bucket, Window: s.project.Window}
	for _, r := range s.roles {
		status.Processes = append(status.Processes, r.status())
	}
	status.Readers = s.readers()
	if status.BucketWhy = s.bucketTrouble(ctx); status.BucketWhy != "" {
		status.Branches = s.startedBranches() // the others' names are in the bucket
		return status, nil
	}
	var err error
	status.Branches, err = s.Branches(ctx)
	if err != nil {
		return status, err
	}
	return status, s.survey(ctx, status.Processes, status.Branches)
}

// keyedLock is one mutex per key.
type keyedLock struct {
	mu    sync.Mutex
	locks map[string]*sync.Mutex
}

func (k *keyedLock) lock(key string) (unlock func()) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[string]*sync.Mutex{}
	}
	l := k.locks[key]
	if l == nil {
		l = &sync.Mutex{}
		k.locks[key] = l
	}
	k.mu.Unlock()
	l.Lock()
	return l.Unlock
}

// newTimelineID draws a timeline's id.
func newTimelineID() (id wal.TimelineID) {
	rand.Read(id[:])
	return id
}
