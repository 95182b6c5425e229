package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/proposer"
	"github.com/varvedb/varve/wal/walapi"
)

// head finds where a branch's committed log ends. While an endpoint runs, its
// proposer knows; otherwise an election seals whatever its last one left. A branch
// whose log nobody has ever opened ends where it leaves its parent.
func (s *Supervisor) head(ctx context.Context, b Branch) (wal.LSN, error) {
	s.mu.Lock()
	e := s.endpoints[b.Name]
	s.mu.Unlock()
	if e != nil && e.process.alive() {
		return askCommitLSN(ctx, e.cfg.Status)
	}
	// No endpoint may start, and lose its term to our election, meanwhile.
	defer s.busy.lock(b.Name)()
	exists, err := s.logExists(ctx, b.Timeline)
	if err != nil {
		return 0, err
	}
	if !exists {
		return b.Start, nil
	}
	identity, err := s.identity(ctx, b)
	if err != nil {
		return 0, err
	}
	head, err := proposer.Seal(ctx, s.env, proposer.Config{ID: newNodeID(), Identity: identity, Safekeepers: s.quorum()})
	if err != nil {
		return 0, fmt.Errorf("seal the log: %w", err)
	}
	return head, nil
}

func (s *Supervisor) quorum() (members []proposer.Safekeeper) {
	for i, addr := range s.safekeeperAddrs() {
		members = append(members, proposer.Safekeeper{ID: wal.NodeID(i + 1), Addr: addr})
	}
	return members
}

// logExists asks the safekeepers whether any of them holds the timeline's log.
func (s *Supervisor) logExists(ctx context.Context, id wal.TimelineID) (bool, error) {
	var failures []error
	for _, addr := range s.safekeeperAddrs() {
		held, err := holdsLog(ctx, s, addr, id)
		if held {
			return true, nil
		}
		if err != nil {
			failures = append(failures, err)
		}
	}
	// A minority that does not answer cannot hide a log: its creation needed
	// all others.
	if len(failures) > s.project.Safekeepers/2 {
		return false, fmt.Errorf("ask the safekeepers for timeline %s: %w", id, errors.Join(failures...))
	}
	return false, nil
}

func holdsLog(ctx context.Context, s *Supervisor, addr string, id wal.TimelineID) (bool, error) {
	client, err := walapi.Dial(ctx, s.env, addr)
	if err != nil {
		return false, err
	}
	defer client.Close()
	held, err := client.List(ctx)
	if err != nil {
		return false, err
	}
	for _, timeline := range held {
		if timeline == id {
			return true, nil
		}
	}
	return false, nil
}

// commitPath is where an endpoint's process serves its commit LSN, over HTTP on
// its status socket.
const commitPath = "/commit"

// ServeCommitLSN serves commit on an endpoint's status socket until ctx ends.
func ServeCommitLSN(ctx context.Context, addr string, commit func() wal.LSN) error {
	listener, err := listen(strings.TrimPrefix(addr, "unix:"))
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+commitPath, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, commit()) })
	server := &http.Server{Handler: mux}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the commit LSN: %w", err)
	}
	return nil
}

// askCommitLSN asks an endpoint's process.
func askCommitLSN(ctx context.Context, addr string) (wal.LSN, error) {
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", strings.TrimPrefix(addr, "unix:"))
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://endpoint"+commitPath, nil)
	if err != nil {
		return 0, err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, fmt.Errorf("ask the endpoint for its commit LSN: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 100))
	if err != nil {
		return 0, fmt.Errorf("read the endpoint's commit LSN: %w", err)
	}
	return wal.ParseLSN(string(body))
}
