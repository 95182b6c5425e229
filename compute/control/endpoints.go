package control

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/quorum"
)

const (
	// startWait bounds an endpoint's start: it copies the whole database.
	startWait = 30 * time.Minute

	loopback     = "127.0.0.1"
	readerSuffix = ".reader-"
	pgVersion    = 15
)

// started is one start of a Postgres.
type started struct {
	cfg     EndpointConfig
	branch  string
	process *process // nil before there is one
	ready   EndpointReady
	serves  bool              // its start has ended well
	stopped bool              // asked to
	step    string            // what it does while it starts
	tell    func(step string) // told of that; nil: nobody is
}

// EndpointConfig is what an endpoint's process reads from its configuration file.
type EndpointConfig struct {
	Name        string          `json:"name"`
	Dir         string          `json:"dir"`
	Identity    quorum.Identity `json:"identity"`
	At          wal.LSN         `json:"at,omitempty"` // a reader's LSN
	Proposer    wal.NodeID      `json:"proposer"`
	Safekeepers []string        `json:"safekeepers"` // addresses; their ids count from 1
	Pageserver  string          `json:"pageserver"`
	Bucket      string          `json:"bucket"` // directory or s3:// location
	PGBin       string          `json:"pg_bin"`
	Port        int             `json:"port"`
	Address     string          `json:"address"`
	SocketDir   string          `json:"socket_dir"`
	Status      string          `json:"status"` // socket where the process tells its commit LSN
}

// EndpointReady is what an endpoint's process says when its Postgres serves.
type EndpointReady struct {
	Start wal.LSN  `json:"start"`
	Term  wal.Term `json:"term"`
	PID   int      `json:"pid"`
	User  string   `json:"user"` // who may log in
}

// startMain starts the main branch's endpoint when the supervisor starts. One that
// cannot start keeps only a new directory, which is of no use without it, from
// coming up.
func (s *Supervisor) startMain(ctx context.Context) error {
	if err := s.nameIsFree(ctx, MainBranch); err == nil {
		s.cfg.Ready(nil, Errorf(CodeNotFound, "there is no branch %s, so no Postgres was started: see `varve branch list` and `varve endpoint start BRANCH`", MainBranch))
		return nil
	}
	s.cfg.Progress("starting PostgreSQL on branch " + MainBranch)
	status, err := s.StartEndpoint(ctx, MainBranch, s.cfg.Port, s.cfg.Progress)
	switch {
	case err == nil:
		s.cfg.Ready(&status, nil)
	case s.fresh || ctx.Err() != nil || CodeOf(err) == CodeConflict:
		return err
	default:
		// Other branches, and this one's past, are as good as before.
		s.cfg.Ready(nil, fmt.Errorf("all else runs, but the Postgres of branch %s did not start: %w", MainBranch, err))
	}
	return nil
}

// checkMainPort tells whether the main branch's endpoint can have its port, before
// anything is started.
func (s *Supervisor) checkMainPort() error {
	port := s.cfg.Port
	if port == 0 {
		record, _, err := s.state.endpoint(MainBranch)
		if err != nil {
			return err
		}
		port = record.Port
	}
	return checkPort("varve up", port)
}

// StartEndpoint starts a Postgres at a point: read-write at a branch's head, a
// reader at any other moment. It calls tell, from another task, with each step that the
// start comes to.
func (s *Supervisor) StartEndpoint(ctx context.Context, point string, port int, tell func(step string)) (EndpointStatus, error) {
	p, err := ParsePoint(point)
	if err != nil {
		return EndpointStatus{}, err
	}
	if p.IsHead() {
		return s.startWriter(ctx, p.Branch, port, tell)
	}
	return s.startReader(ctx, p, point, port, tell)
}

func (s *Supervisor) startWriter(ctx context.Context, name string, port int, tell func(step string)) (EndpointStatus, error) {
	defer s.busy.lock(name)()
	if err := s.awaitEnding(ctx, name); err != nil {
		return EndpointStatus{}, err
	}
	b, err := s.branch(ctx, name)
	if err != nil {
		return EndpointStatus{}, err
	}
	if b.Endpoint != nil && b.Endpoint.State == StateRunning {
		return EndpointStatus{}, Errorf(CodeConflict, "branch %s has a running endpoint, at %s: stop it with `varve endpoint stop %s`", name, b.Endpoint.URL, name)
	}
	if port, err = s.choosePort(name, port); err != nil {
		return EndpointStatus{}, err
	}
	identity, err := s.identity(ctx, b)
	if err != nil {
		return EndpointStatus{}, err
	}
	cfg := s.endpointConfig(name, identity, port)
	cfg.Dir = filepath.Join(s.cfg.Dir, "endpoints", name)
	status, err := s.launch(ctx, name, &started{cfg: cfg, branch: name, tell: tell})
	if err != nil {
		return EndpointStatus{}, s.startFix(ctx, name, err)
	}
	return status, s.state.setEndpoint(name, endpointRecord{Port: port})
}

// startFix says what to do if a start has failed because the branch's storage has stopped.
func (s *Supervisor) startFix(ctx context.Context, name string, failed error) error {
	b, err := s.branch(ctx, name)
	if err != nil || b.Stopped == "" {
		return failed // which says more
	}
	return Errorf(CodeOf(failed), "%v: branch at what is there with `varve branch create NAME --parent %s@%s`", failed, name, b.Ingested)
}

// awaitEnding waits for the end of an endpoint whose Postgres is gone already: its
// process still tidies up.
func (s *Supervisor) awaitEnding(ctx context.Context, id string) error {
	s.mu.Lock()
	e := s.endpoints[id]
	s.mu.Unlock()
	if e == nil || !e.process.alive() {
		return nil
	}
	conn, err := net.Dial("tcp", net.JoinHostPort(e.cfg.Address, fmt.Sprint(e.cfg.Port)))
	if err == nil {
		return conn.Close()
	}
	select {
	case <-e.process.ended:
		return nil
	case <-time.After(e.process.killAfter):
		return Errorf(CodeTimeout, "the endpoint of branch %s takes no connections, and its process %d does not end: stop it with `varve endpoint stop %s`", id, e.process.pid(), id)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *Supervisor) startReader(ctx context.Context, p Point, point string, port int, tell func(step string)) (EndpointStatus, error) {
	id, e, err := s.announceReader(ctx, p.Branch, tell)
	if err != nil {
		return EndpointStatus{}, err
	}
	if err := s.configureReader(ctx, id, e, point, port); err != nil {
		return s.endStart(ctx, id, e, err)
	}
	return s.launch(ctx, id, e)
}

// announceReader makes a reader known, so that its branch is not deleted under it.
func (s *Supervisor) announceReader(ctx context.Context, branch string, tell func(step string)) (id string, e *started, err error) {
	defer s.busy.lock(branch)()
	if _, err := s.branch(ctx, branch); err != nil {
		return "", nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readerCount++
	id = fmt.Sprintf("%s%s%d", branch, readerSuffix, s.readerCount)
	e = &started{branch: branch, tell: tell}
	s.starting[id] = e
	return id, e, nil
}

func (s *Supervisor) configureReader(ctx context.Context, id string, e *started, point string, port int) error {
	at, err := s.Resolve(ctx, point)
	if err != nil {
		return err
	}
	b, err := s.branch(ctx, at.Branch)
	if err != nil {
		return err
	}
	identity, err := s.identity(ctx, b)
	if err != nil {
		return err
	}
	if port == 0 {
		if port, err = freePort(); err != nil {
			return err
		}
	}
	cfg := s.endpointConfig(id, identity, port)
	cfg.Dir = filepath.Join(s.cfg.Dir, "endpoints", id)
	cfg.At = at.LSN
	s.mu.Lock()
	defer s.mu.Unlock()
	e.cfg = cfg
	return nil
}

func (s *Supervisor) endpointConfig(name string, identity quorum.Identity, port int) EndpointConfig {
	return EndpointConfig{
		Name: name, Identity: identity, Proposer: newNodeID(),
		Safekeepers: s.safekeeperAddrs(), Pageserver: s.pageserverAddr(), Bucket: s.bucket,
		PGBin: s.cfg.PGBin, Port: port, Address: loopback, SocketDir: socketDir(s.cfg.Dir),
		Status: s.socketAddr(fmt.Sprintf("endpoint-%d", port)),
	}
}

// identity says whose log a branch's is.
func (s *Supervisor) identity(ctx context.Context, b Branch) (quorum.Identity, error) {
	// It never changes; where the branch begins it may be collected.
	systemID, err := s.storage.systemID(ctx, b.Timeline, max(b.horizon(), b.Ingested))
	if err != nil {
		return quorum.Identity{}, fmt.Errorf("read the identity of branch %s: %w", b.Name, err)
	}
	return quorum.Identity{
		Tenant: s.project.Tenant, Timeline: b.Timeline, SystemID: systemID, PGVersion: pgVersion, Start: b.Start,
	}, nil
}

func newNodeID() wal.NodeID {
	var b [8]byte
	rand.Read(b[:])
	return wal.NodeID(binary.LittleEndian.Uint64(b[:]))
}

// choosePort returns the port asked for, or the one the branch had, or a free one.
func (s *Supervisor) choosePort(name string, port int) (int, error) {
	record, found, err := s.state.endpoint(name)
	if err != nil {
		return 0, err
	}
	switch {
	case port < 0 || port > portMax:
		return 0, Errorf(CodeUsage, "--port %d: want 1 to %d", port, portMax)
	case port == 0 && found:
		port = record.Port
	case port == 0:
		if port, err = freePort(); err != nil {
			return 0, err
		}
	}
	return port, checkPort("varve endpoint start "+name, port)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(loopback, "0"))
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// launch starts an endpoint's process and waits until its Postgres serves. One that
// does not come so far is gone when launch returns.
func (s *Supervisor) launch(ctx context.Context, id string, e *started) (EndpointStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	return s.endStart(ctx, id, e, s.runUntilReady(ctx, id, e))
}

func (s *Supervisor) runUntilReady(ctx context.Context, id string, e *started) error {
	path := filepath.Join(s.cfg.Dir, "run", id+".json")
	body, err := json.MarshalIndent(e.cfg, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, body, 0o600); err != nil {
		return fmt.Errorf("write the endpoint's configuration: %w", err)
	}
	if err := s.beginStart(id, e, path); err != nil {
		return err
	}
	details, err := e.process.waitReady(ctx)
	if err == nil {
		err = json.Unmarshal([]byte(details), &e.ready)
	}
	if err != nil {
		e.process.terminate()
	}
	return err
}

// beginStart starts the process. From then on the supervisor's stop ends it.
func (s *Supervisor) beginStart(id string, e *started, config string) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return Errorf(CodeConflict, "varve in %s is stopping: start it again with `varve up`", s.cfg.Dir)
	}
	program := s.endpointProgram(func(step string) { s.noteStep(e, step) })
	if e.process, err = program.start("endpoint "+id, s.logPath("endpoint-"+id), "endpoint-process", "--config", config); err != nil {
		return err
	}
	s.starting[id] = e
	return nil
}

// noteStep is told by an endpoint what it begins.
func (s *Supervisor) noteStep(e *started, step string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.step = step
	if e.tell != nil {
		e.tell(step)
	}
}

// endStart notes how a start has ended: with err, or with a Postgres that serves.
func (s *Supervisor) endStart(ctx context.Context, id string, e *started, err error) (EndpointStatus, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.starting, id)
	e.tell = nil
	if err != nil && isReader(id) && e.cfg.Dir != "" {
		err = errors.Join(err, removeEndpointFiles(s.cfg.Dir, id, e.cfg.Dir))
	}
	switch {
	case err == nil:
		e.serves = true
		s.endpoints[id] = e
		return e.status(id), nil
	case e.stopped:
		return EndpointStatus{}, Errorf(CodeConflict, "endpoint %s was stopped while it started", id)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return EndpointStatus{}, Errorf(CodeTimeout, "endpoint %s was not ready within %s, and is stopped; at last it was %s: see %s", id, startWait, e.step, s.logPath("endpoint-"+id))
	}
	return EndpointStatus{}, err
}

func (e *started) status(id string) EndpointStatus {
	status := EndpointStatus{
		ID: id, Branch: e.branch, State: StateRunning, PID: e.ready.PID, Start: e.ready.Start, Term: uint64(e.ready.Term), ReadAt: e.cfg.At,
		URL:     fmt.Sprintf("postgresql://%s@%s:%d/postgres", url.User(e.ready.User), e.cfg.Address, e.cfg.Port),
		DataDir: filepath.Join(e.cfg.Dir, "data"),
	}
	if !e.serves {
		status.State, status.PID, status.URL, status.Step = StateStarting, 0, "", e.step
		return status
	}
	if !e.process.alive() {
		status.State, status.PID, status.URL = StateStopped, 0, ""
		if !e.stopped {
			status.State, status.Failure = StateFailed, e.process.lastWords()
		}
	}
	return status
}

// endpointOf returns the state of a branch's read-write endpoint, nil if it was
// never started here.
func (s *Supervisor) endpointOf(branch string) *EndpointStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.starting[branch]
	if e == nil {
		e = s.endpoints[branch]
	}
	if e == nil {
		return nil
	}
	status := e.status(branch)
	return &status
}

// startedBranches returns the branches that have an endpoint here, by name, and nothing
// else of them.
func (s *Supervisor) startedBranches() (branches []Branch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, endpoints := range []map[string]*started{s.starting, s.endpoints} {
		for id, e := range endpoints {
			if !isReader(id) {
				status := e.status(id)
				branches = append(branches, Branch{Name: e.branch, Endpoint: &status})
			}
		}
	}
	slices.SortFunc(branches, func(a, b Branch) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(branches, func(a, b Branch) bool { return a.Name == b.Name })
}

// readers returns the state of the readers, by id, those that start as well.
func (s *Supervisor) readers() (all []EndpointStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, endpoints := range []map[string]*started{s.starting, s.endpoints} {
		for id, e := range endpoints {
			if isReader(id) {
				all = append(all, e.status(id))
			}
		}
	}
	slices.SortFunc(all, func(a, b EndpointStatus) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// StopEndpoint stops an endpoint cleanly and returns its last state.
func (s *Supervisor) StopEndpoint(_ context.Context, id string) (EndpointStatus, error) {
	if s.endStarting(id) {
		return EndpointStatus{ID: id, State: StateStopped}, nil
	}
	defer s.busy.lock(id)()
	s.mu.Lock()
	e := s.endpoints[id]
	if e == nil || !e.process.alive() {
		s.mu.Unlock()
		return EndpointStatus{}, Errorf(CodeNotFound, "no endpoint runs on %s: see `varve status`", id)
	}
	e.stopped = true
	s.mu.Unlock()
	e.process.terminate()
	status := e.status(id)
	if code := e.process.cmd.ProcessState.ExitCode(); code != 0 {
		return status, Errorf(CodeFailed, "endpoint %s did not stop cleanly: %s", id, e.process.lastWords())
	}
	if e.cfg.At != 0 {
		return status, s.removeReader(id, e)
	}
	return status, nil
}

// endStarting ends an endpoint that starts, and reports whether there was one. Its start
// fails, and tells so to whoever asked for it.
func (s *Supervisor) endStarting(id string) bool {
	s.mu.Lock()
	e := s.starting[id]
	if e == nil || e.process == nil {
		s.mu.Unlock()
		return false
	}
	e.stopped = true
	s.mu.Unlock()
	e.process.terminate()
	return true
}

// isReader tells a reader's id from a branch's name, which has no dots.
func isReader(id string) bool { return strings.Contains(id, readerSuffix) }

// readerOf returns a reader of a branch that runs or starts, nil if there is none.
func (s *Supervisor) readerOf(branch string) *EndpointStatus {
	for _, reader := range s.readers() {
		if reader.Branch == branch && (reader.State == StateRunning || reader.State == StateStarting) {
			return &reader
		}
	}
	return nil
}

// keepReader returns when a reader has ended, which it does with ctx at the latest.
func (s *Supervisor) keepReader(ctx context.Context, id string) {
	s.mu.Lock()
	e := s.endpoints[id]
	s.mu.Unlock()
	if e == nil {
		return // stopped already
	}
	select {
	case <-e.process.ended:
	case <-ctx.Done():
		// Its log says what went wrong; there is nobody left to tell.
		_, _ = s.StopEndpoint(context.WithoutCancel(ctx), id)
	}
}

func (s *Supervisor) removeReader(id string, e *started) error {
	s.mu.Lock()
	delete(s.endpoints, id)
	s.mu.Unlock()
	return removeEndpointFiles(s.cfg.Dir, id, e.cfg.Dir)
}

func removeEndpointFiles(dir, id, endpointDir string) error {
	err := os.Remove(filepath.Join(dir, "run", id+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err = errors.Join(err, os.RemoveAll(endpointDir)); err != nil {
		return fmt.Errorf("remove endpoint %s: %w", id, err)
	}
	return nil
}

// removeOldReaders removes what readers of an earlier supervisor left behind.
func (s *Supervisor) removeOldReaders() error {
	entries, err := os.ReadDir(filepath.Join(s.cfg.Dir, "endpoints"))
	if err != nil {
		return fmt.Errorf("look for old readers: %w", err)
	}
	for _, entry := range entries {
		if id := entry.Name(); isReader(id) {
			if err := removeEndpointFiles(s.cfg.Dir, id, filepath.Join(s.cfg.Dir, "endpoints", id)); err != nil {
				return err
			}
		}
	}
	return nil
}

// forgetEndpoint removes what is left of a deleted branch's endpoint.
func (s *Supervisor) forgetEndpoint(branch string) error {
	s.mu.Lock()
	delete(s.endpoints, branch)
	s.mu.Unlock()
	return errors.Join(s.state.deleteEndpoint(branch), removeEndpointFiles(s.cfg.Dir, branch, filepath.Join(s.cfg.Dir, "endpoints", branch)))
}

// stopEndpoints stops all endpoints, the readers too, side by side.
func (s *Supervisor) stopEndpoints() {
	s.mu.Lock()
	s.stopping = true
	var running []*process
	for _, endpoints := range []map[string]*started{s.starting, s.endpoints} {
		for _, e := range endpoints {
			e.stopped = true
			if e.process != nil {
				running = append(running, e.process)
			}
		}
	}
	s.mu.Unlock()
	done := make(chan struct{})
	for _, p := range running {
		go func() { p.terminate(); done <- struct{}{} }()
	}
	for range running {
		<-done
	}
}
