package peer

import (
	"context"
	"sync"
)

// Group makes blocks durable in all files at once for many tasks: what comes while a file
// is flushed goes into its next flush. It is the floor under commits that arrive.
type Group struct {
	enough  int
	size    int
	plain   *Plain
	mu      sync.Mutex // guards the plain files' position
	queues  []chan groupTurn
	writers sync.WaitGroup
}

type groupTurn struct {
	at   int64
	done chan<- error
}

// groupMax is how many blocks may wait for a file.
const groupMax = 4096

// Group begins one for blocks of a size, each of which counts when it is in enough files.
// Nobody else may use the files until it is closed.
func (p *Plain) Group(size, enough int) *Group {
	g := &Group{enough: enough, size: size, plain: p}
	for _, f := range p.files {
		queue := make(chan groupTurn, groupMax)
		g.queues = append(g.queues, queue)
		g.writers.Go(func() {
			block := make([]byte, size)
			for turn := range queue {
				turns := []groupTurn{turn}
				for len(queue) > 0 {
					turns = append(turns, <-queue)
				}
				var err error
				for _, each := range turns[1:] {
					if _, failed := f.WriteAt(block, each.at); failed != nil {
						err = failed
					}
				}
				if failed := flush(f, block, turn.at); failed != nil {
					err = failed
				}
				for _, each := range turns {
					each.done <- err
				}
			}
		})
	}
	return g
}

// Commit makes one block durable.
func (g *Group) Commit(ctx context.Context) error {
	done := make(chan error, len(g.queues))
	g.mu.Lock()
	at := g.plain.step(g.size)
	g.mu.Unlock()
	for _, queue := range g.queues {
		queue <- groupTurn{at, done}
	}
	for range g.enough {
		if err := <-done; err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Close ends it when all that was committed is in every file.
func (g *Group) Close() {
	for _, queue := range g.queues {
		close(queue)
	}
	g.writers.Wait()
}
