package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/varvedb/varve/compute/endpoint"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/proposer"
)

// sealWait bounds an election: two round trips, unless safekeepers are away.
const sealWait = 30 * time.Second

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
	identity, err := s.identity(ctx, b)
	if err != nil {
		return 0, err
	}
	made, err := endpoint.LogMade(ctx, s.env, identity)
	if err != nil || !made {
		return b.Start, err
	}
	ctx, cancel := context.WithTimeout(ctx, sealWait)
	defer cancel()
	head, err := proposer.Seal(ctx, s.env, proposer.Config{ID: newNodeID(), Identity: identity, Safekeepers: s.quorum()})
	if errors.Is(err, context.DeadlineExceeded) {
		return 0, Errorf(CodeTimeout, "no majority of the safekeepers answered within %s: see `varve status`, or name an LSN that the storage has, for which none is needed: up to %s@%s", sealWait, b.Name, b.Ingested)
	}
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
