package osenv

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/varvedb/varve/wal/env"
)

// Config says where a process's world is.
type Config struct {
	Root   string       // directory that FS names are relative to; made if missing
	Bucket string       // the bucket: a directory, made if missing, or an s3:// location. Empty: its calls fail.
	Logger *slog.Logger // receives trace events at debug level; nil drops them
}

// New makes the environment of this process.
func New(cfg Config) (env.Env, error) {
	root, err := filepath.Abs(cfg.Root)
	if err != nil {
		return env.Env{}, fmt.Errorf("find data directory: %w", err)
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return env.Env{}, fmt.Errorf("make data directory: %w", err)
	}
	bucket, err := newBucket(cfg.Bucket)
	if err != nil {
		return env.Env{}, err
	}
	return env.Env{
		Clock:  newClock(),
		Tasks:  newTasks(),
		FS:     &fileSystem{root: root},
		Net:    network{},
		Bucket: bucket,
		Rand:   randomness{},
		Trace:  tracer{cfg.Logger},
	}, nil
}

type clock struct{ start time.Time }

func newClock() clock { return clock{start: time.Now()} }

func (c clock) Now() time.Duration { return time.Since(c.start) }

func (clock) Wall() time.Time { return time.Now() }

func (clock) Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

type randomness struct{}

// Stream ignores the name: in the real world every stream is seeded by the
// operating system.
func (randomness) Stream(string) env.Stream {
	return rand.NewChaCha8(seedFromSystem())
}

type tracer struct{ logger *slog.Logger }

func (t tracer) Event(name string, attrs ...any) {
	if t.logger != nil {
		t.logger.Debug(name, attrs...)
	}
}

func (tracer) Cover(string) {}

func (tracer) Yield(context.Context, string) {}
