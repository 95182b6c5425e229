package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/varvedb/varve/bench/meter"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/env/osenv"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/proposer"
	"github.com/varvedb/varve/wal/quorum"
	"github.com/varvedb/varve/wal/safekeeper"
	"github.com/varvedb/varve/wal/walapi"
)

// SystemID is the system identifier of logs that no PostgreSQL wrote.
const SystemID = 7_000_000_000_000_000_001

// Node is a safekeeper.
type Node struct {
	ID    wal.NodeID
	Addr  string
	World *meter.World
	group env.Group
}

// Safekeepers are the safekeepers of one quorum.
type Safekeepers struct {
	Env   env.Env // of those who ask them
	Nodes []*Node
}

// NewWorld makes a metered world whose files and bucket are below dir.
func NewWorld(dir string) (*meter.World, error) {
	e, err := osenv.New(osenv.Config{Root: filepath.Join(dir, "files"), Bucket: filepath.Join(dir, "bucket")})
	if err != nil {
		return nil, fmt.Errorf("make environment: %w", err)
	}
	return meter.Wrap(e), nil
}

// StartSafekeepers starts count safekeepers below dir. They run until Stop.
func StartSafekeepers(ctx context.Context, dir string, count int) (*Safekeepers, error) {
	client, err := NewWorld(filepath.Join(dir, "client"))
	if err != nil {
		return nil, err
	}
	s := &Safekeepers{Env: client.Env}
	for n := range count {
		node := &Node{ID: wal.NodeID(n + 1), Addr: fmt.Sprintf("unix:%s/sk%d", dir, n+1)}
		if node.World, err = NewWorld(filepath.Join(dir, fmt.Sprint("sk", n+1, ".d"))); err != nil {
			return nil, errors.Join(err, s.Stop())
		}
		s.Nodes = append(s.Nodes, node)
		if err := node.Start(ctx); err != nil {
			return nil, errors.Join(err, s.Stop())
		}
	}
	return s, nil
}

// Start starts the safekeeper, which does not run, and waits until it listens.
func (n *Node) Start(ctx context.Context) error {
	keeper := safekeeper.New(n.World.Env, safekeeper.Config{ID: n.ID, Dir: "sk", Listen: n.Addr})
	n.group = n.World.Tasks.NewGroup(context.WithoutCancel(ctx))
	n.group.Go("safekeeper", keeper.Run)
	_, err := keeper.Ready(ctx)
	return err
}

// Stop ends the safekeeper. Its files stay.
func (n *Node) Stop() error {
	if n.group == nil {
		return nil
	}
	group := n.group
	n.group = nil
	group.Stop()
	return group.Wait()
}

// Stop ends the safekeepers.
func (s *Safekeepers) Stop() (err error) {
	for _, n := range s.Nodes {
		err = errors.Join(err, n.Stop())
	}
	return err
}

// Addresses are where the safekeepers listen.
func (s *Safekeepers) Addresses() (addrs []string) {
	for _, n := range s.Nodes {
		addrs = append(addrs, n.Addr)
	}
	return addrs
}

// Members are the safekeepers as a proposer is told of them.
func (s *Safekeepers) Members() (members []proposer.Safekeeper) {
	for _, n := range s.Nodes {
		members = append(members, proposer.Safekeeper{ID: n.ID, Addr: n.Addr})
	}
	return members
}

// Syncs is a sum over the safekeepers' disks.
func (s *Safekeepers) Syncs() (sum int64) {
	for _, n := range s.Nodes {
		sum += n.World.Files.Syncs.Load()
	}
	return sum
}

// BytesWritten is what all safekeepers have written to their disks.
func (s *Safekeepers) BytesWritten() (sum int64) {
	for _, n := range s.Nodes {
		sum += n.World.Files.BytesWritten.Load()
	}
	return sum
}

// Writer is a proposer that has won its term, and a hand that writes records to its log.
type Writer struct {
	*proposer.Proposer
	group env.Group
	s     *Safekeepers
	id    wal.TimelineID
	mu    sync.Mutex // held while a record is encoded and appended
	at    wal.LSN
	log   *pgwal.Encoder
	start wal.LSN
}

// NewWriter makes a log on the safekeepers, and the proposer of its first term.
func (s *Safekeepers) NewWriter(ctx context.Context, timeline wal.TimelineID) (*Writer, error) {
	id := quorum.Identity{Tenant: wal.TenantID{1}, Timeline: timeline, SystemID: SystemID, PGVersion: 15, Start: wal.SegmentStart(3)}
	for _, n := range s.Nodes {
		client, err := walapi.Dial(ctx, s.Env, n.Addr)
		if err != nil {
			return nil, err
		}
		err = client.Create(ctx, id)
		if err = errors.Join(err, client.Close()); err != nil {
			return nil, err
		}
	}
	cfg := proposer.Config{ID: 100, Identity: id, Safekeepers: s.Members()}
	w := &Writer{Proposer: proposer.New(s.Env, cfg), group: s.Env.Tasks.NewGroup(context.WithoutCancel(ctx)), s: s, id: timeline}
	w.group.Go("proposer", w.Run)
	_, x, err := w.Elected(ctx)
	if err != nil {
		return nil, err
	}
	prev, err := w.LastRecord(ctx)
	if err != nil {
		return nil, err
	}
	w.at, w.start, w.log = x, x, pgwal.NewEncoder(x, prev, SystemID)
	return w, nil
}

// Stop ends the proposer.
func (w *Writer) Stop() error {
	w.group.Stop()
	return w.group.Wait()
}

// Written is the number of bytes of log so far.
func (w *Writer) Written() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return int64(w.at - w.start)
}

// Message is a record that does nothing and carries n bytes.
func Message(n int) pgwal.RecordSpec {
	return pgwal.RecordSpec{RMgr: pgwal.RMgrXLOG, Info: pgwal.OpXLOGNoop, MainData: bytes.Repeat([]byte{7}, n)}
}

// Write appends a record and returns its end, without waiting for its commit. Any number
// of tasks may write.
func (w *Writer) Write(ctx context.Context, record pgwal.RecordSpec) (end wal.LSN, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, end = w.log.Append(record)
	p := w.log.Take()
	if err := w.Append(ctx, w.at, p); err != nil {
		return 0, err
	}
	w.at += wal.LSN(len(p))
	return end, nil
}

// Commit appends a record and waits until it is committed.
func (w *Writer) Commit(ctx context.Context, record pgwal.RecordSpec) error {
	end, err := w.Write(ctx, record)
	if err != nil {
		return err
	}
	return w.WaitCommit(ctx, end)
}

// WaitAll waits until every safekeeper has the log up to a record's end, and knows that
// it is committed: a commit needs a majority only.
func (w *Writer) WaitAll(ctx context.Context, end wal.LSN) error {
	for _, n := range w.s.Nodes {
		if err := w.waitFor(ctx, n, end); err != nil {
			return fmt.Errorf("wait until safekeeper %d has the log up to %v: %w", n.ID, end, err)
		}
	}
	return nil
}

// waitFor asks a safekeeper for the last byte before end until that can be read there.
func (w *Writer) waitFor(ctx context.Context, n *Node, end wal.LSN) error {
	client, err := walapi.Dial(ctx, w.s.Env, n.Addr)
	if err != nil {
		return err
	}
	defer client.Close()
	for limit := wal.LSN(0); limit < end; {
		chunk, err := client.Read(ctx, walapi.ReadRequest{Timeline: w.id, Begin: end - 1, BytesMax: 1, Wait: time.Second})
		if err != nil {
			return err
		}
		limit = chunk.Limit
	}
	return nil
}
