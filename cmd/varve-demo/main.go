// Command varve-demo shows in about two minutes what Varve promises: it runs real
// PostgreSQL on Varve, branches it, damages it, kills its processes, wipes its
// caches, and checks after each blow that nothing acknowledged is missing. It
// drives the varve binary beside it as a user would.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	dir := flag.String("dir", "", "data directory, which must not exist (default: one made for the demo, removed at its end)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *dir); err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\ndemo: failed\n", err)
		os.Exit(1)
	}
	fmt.Println("demo: ok")
}

func run(ctx context.Context, dir string) (err error) {
	binary, err := ownNeighbour("varve")
	if err != nil {
		return err
	}
	if dir == "" {
		temp, err := os.MkdirTemp("", "varve-demo-")
		if err != nil {
			return err
		}
		// PostgreSQL, which does not run as root, must reach its directory below.
		if err := os.Chmod(temp, 0o755); err != nil {
			return err
		}
		defer os.RemoveAll(temp)
		dir = filepath.Join(temp, "data")
	}
	d := &demo{varve: varve{binary: binary, dir: dir}, started: time.Now()}
	// Whatever happens, no process stays behind.
	defer func() {
		if err != nil {
			_, downErr := d.varve.run(context.WithoutCancel(ctx), "down")
			err = errors.Join(err, downErr)
		}
	}()
	for i, step := range d.steps() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		fmt.Printf("\n[%2d/%d] %s\n", i+1, len(d.steps()), step.title)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("step %d (%s): %w", i+1, step.title, err)
		}
	}
	fmt.Printf("\n%.0f seconds\n", time.Since(d.started).Seconds())
	return nil
}

func ownNeighbour(name string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(self), name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("find %s beside %s: %w: build both with `make build`", name, self, err)
	}
	return path, nil
}
