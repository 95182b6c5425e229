package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
)

// accounts, tellers and branches of pgbench at scale 1.
const (
	accountsPerScale = 100_000
	tellersPerScale  = 10
)

// load runs TPC-B transactions from several clients. Each transaction also adds a
// row (client, n), n counting from 1; once its commit is acknowledged, "client n"
// is synced to a file that lies outside the storage under test.
type load struct {
	url    string
	scale  int
	first  int // the first client's number; every load uses new ones
	acks   *os.File
	acksMu sync.Mutex

	stopping atomic.Bool
	done     sync.WaitGroup
	acked    []atomic.Int64 // by client: the last n acknowledged
	ends     []error        // by client: why it ended, if not because it was stopped

	progress chan struct{} // gets a token, if it has room, at each acknowledgement
}

func startLoad(ctx context.Context, url string, scale, first, clients int, ackPath string) (*load, error) {
	acks, err := os.OpenFile(ackPath, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	l := &load{
		url: url, scale: scale, first: first, acks: acks,
		acked: make([]atomic.Int64, clients), ends: make([]error, clients), progress: make(chan struct{}, 1),
	}
	for i := range clients {
		l.done.Go(func() { l.ends[i] = l.client(ctx, i) })
	}
	return l, nil
}

func (l *load) client(ctx context.Context, i int) error {
	conn, err := pgx.Connect(ctx, l.url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for n := int64(1); !l.stopping.Load(); n++ {
		if err := l.transaction(ctx, conn, l.first+i, n); err != nil {
			return fmt.Errorf("client %d, transaction %d: %w", l.first+i, n, err)
		}
		if err := l.acknowledge(l.first+i, n); err != nil {
			return err
		}
		l.acked[i].Store(n)
		select {
		case l.progress <- struct{}{}:
		default:
		}
	}
	return nil
}

func (l *load) transaction(ctx context.Context, conn *pgx.Conn, client int, n int64) error {
	account := rand.IntN(accountsPerScale*l.scale) + 1
	teller := rand.IntN(tellersPerScale*l.scale) + 1
	branch := rand.IntN(l.scale) + 1
	delta := rand.IntN(10_001) - 5_000
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		batch.Queue("UPDATE pgbench_accounts SET abalance = abalance + $1 WHERE aid = $2", delta, account)
		batch.Queue("SELECT abalance FROM pgbench_accounts WHERE aid = $1", account)
		batch.Queue("UPDATE pgbench_tellers SET tbalance = tbalance + $1 WHERE tid = $2", delta, teller)
		batch.Queue("UPDATE pgbench_branches SET bbalance = bbalance + $1 WHERE bid = $2", delta, branch)
		batch.Queue("INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES ($1, $2, $3, $4, CURRENT_TIMESTAMP)", teller, branch, account, delta)
		batch.Queue("INSERT INTO demo_acks (client, n) VALUES ($1, $2)", client, n)
		return tx.SendBatch(ctx, batch).Close()
	})
}

func (l *load) acknowledge(client int, n int64) error {
	l.acksMu.Lock()
	defer l.acksMu.Unlock()
	if _, err := fmt.Fprintln(l.acks, client, n); err != nil {
		return err
	}
	return l.acks.Sync()
}

// waitFor waits until n more transactions were acknowledged.
func (l *load) waitFor(ctx context.Context, n int64) error {
	ended := make(chan struct{})
	go func() { l.done.Wait(); close(ended) }()
	for target := l.total() + n; l.total() < target; {
		select {
		case <-l.progress:
		case <-ended:
			return fmt.Errorf("the load ended too soon: %w", errors.Join(l.ends...))
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (l *load) total() (sum int64) {
	for i := range l.acked {
		sum += l.acked[i].Load()
	}
	return sum
}

// stop ends the load after the transactions under way.
func (l *load) stop() error {
	l.stopping.Store(true)
	return l.ended()
}

// ended waits until every client has ended, by itself or because it was stopped.
func (l *load) ended() error {
	l.done.Wait()
	return errors.Join(append([]error{l.acks.Close()}, l.ends...)...)
}

// checkAcks holds the rows of demo_acks against the file of acknowledgements:
// every acknowledged row is there, and per client at most one more, whose outcome
// the client never learnt.
func checkAcks(ctx context.Context, conn *pgx.Conn, ackPath string) (acked, unknown int64, err error) {
	last, err := readAcks(ackPath)
	if err != nil {
		return 0, 0, err
	}
	rows, err := conn.Query(ctx, "SELECT client, count(*), max(n) FROM demo_acks GROUP BY client")
	if err != nil {
		return 0, 0, err
	}
	stored := map[int]int64{}
	var client int
	var count, highest int64
	_, err = pgx.ForEachRow(rows, []any{&client, &count, &highest}, func() error {
		if count != highest {
			return fmt.Errorf("client %d: rows up to %d, but only %d of them", client, highest, count)
		}
		stored[client] = highest
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	for client, n := range last {
		if stored[client] < n {
			return 0, 0, fmt.Errorf("client %d: %d was acknowledged, the last row stored is %d", client, n, stored[client])
		}
		acked += n
	}
	for client, n := range stored {
		if n > last[client]+1 {
			return 0, 0, fmt.Errorf("client %d: row %d is stored, but only %d were acknowledged", client, n, last[client])
		}
		unknown += n - last[client]
	}
	return acked, unknown, nil
}

func readAcks(path string) (last map[int]int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	last = map[int]int64{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var client int
		var n int64
		if _, err := fmt.Sscan(lines.Text(), &client, &n); err != nil {
			return nil, fmt.Errorf("read acknowledgement %q: %w", lines.Text(), err)
		}
		last[client] = n
	}
	return last, nil
}

// checkSums holds TPC-B's invariant: every delta went to one account, one teller,
// one branch and the history.
func checkSums(ctx context.Context, conn *pgx.Conn) (sum int64, err error) {
	var accounts, tellers, branches, history int64
	err = conn.QueryRow(ctx, `SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers),
		(SELECT sum(bbalance) FROM pgbench_branches), (SELECT coalesce(sum(delta), 0) FROM pgbench_history)`).
		Scan(&accounts, &tellers, &branches, &history)
	if err != nil {
		return 0, err
	}
	if accounts != tellers || tellers != branches || branches != history {
		return 0, fmt.Errorf("sums differ: accounts %d, tellers %d, branches %d, history %d", accounts, tellers, branches, history)
	}
	return accounts, nil
}
