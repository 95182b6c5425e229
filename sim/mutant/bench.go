package mutant

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/varvedb/varve/wal/planted"
)

// Bench tries mutants of the module at Root.
type Bench struct {
	Root string // of the module
	Work string // directory for programs and changed files

	First      uint64        // first seed
	Seeds      int           // bound of every budget; 0: none
	CPU        time.Duration // budget of a hunt in processor time
	ControlMin int           // seeds of a control, at least; 0: no controls
	Off        []string      // finders that do not count

	// Results is a file of trials that were made; those of the same programs are not made
	// again, as they would be the same. Empty: none.
	Results string
}

const (
	// ControlSeeds is how many seeds a control has at least.
	ControlSeeds = 50
	// HuntCPU is the processor time that a hunt may use.
	HuntCPU = 120 * time.Second

	// silentMax is how long a program may take for one seed, in real time. It is for
	// those that sleep: of the processor's time a program bounds itself, see runMax.
	silentMax = 20 * time.Minute
)

// Root finds the module's root, from the directory that this process runs in.
func Root(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	root := filepath.Dir(strings.TrimSpace(string(out)))
	if _, err := os.Stat(filepath.Join(root, "cmd", "varve-sim")); err != nil {
		return "", fmt.Errorf("find the module: run in Varve's source tree: %w", err)
	}
	return root, nil
}

// Build builds the simulator with a mutant in it, or as it is if m is nil, and
// returns the program's path.
func (b *Bench) Build(ctx context.Context, m *Mutant) (string, error) {
	name := "plain"
	if m != nil {
		name = m.Name
	}
	dir := filepath.Join(b.Work, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	program := filepath.Join(dir, "varve-sim")
	args := []string{"build", "-buildvcs=false", "-ldflags=-s -w", "-o", program}
	if m != nil {
		overlay, err := planted.Overlay(b.Root, dir, m.Edits)
		if err != nil {
			return "", fmt.Errorf("plant %s: %w", name, err)
		}
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/varve-sim")...)
	cmd.Dir = b.Root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, errors.Join(err, ctx.Err()), out)
	}
	return program, nil
}

// errEnough ends a batch that its reader wants no more of.
var errEnough = errors.New("enough")

// run runs a batch in a program and gives each line to take, until that says
// otherwise. A program that ends early, or is silent for too long, is an error: what
// is wrong there is not in the simulated world.
func (b *Bench) run(ctx context.Context, program string, batch Batch, take func(Line) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, batch.Args()...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	silent := time.AfterFunc(silentMax, cancel)
	defer silent.Stop()
	lines, taken := bufio.NewScanner(out), 0
	for err == nil && lines.Scan() {
		silent.Reset(silentMax)
		var line Line
		if err = json.Unmarshal(lines.Bytes(), &line); err == nil {
			taken++
			err = take(line)
		}
	}
	cancel()
	ended := cmd.Wait()
	switch {
	case errors.Is(err, errEnough):
		return nil
	case err != nil:
		return err
	case taken == batch.Seeds:
		return nil
	}
	return fmt.Errorf("the program ended at seed %d of profile %s, which is no verdict: %w\n%s", batch.First+uint64(taken), batch.Profile, ended, tail(stderr.String()))
}

// tail is the end of what a program said.
func tail(text string) string { return text[max(0, len(text)-2000):] }
