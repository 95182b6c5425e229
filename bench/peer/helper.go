package peer

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"

	"github.com/varvedb/varve/bench/latency"
	"github.com/varvedb/varve/bench/paired"
)

// Request asks the helper for a piece of work.
type Request struct {
	Op     string          `json:"op"`
	Params json.RawMessage `json:"params"`
}

// Answer is what the helper measured.
type Answer struct {
	Error   string             `json:"error,omitempty"`
	Metrics map[string]float64 `json:"metrics,omitempty"`
	Flat    []int64            `json:"ns_count,omitempty"` // latencies: nanoseconds and count in turns
}

// Load are the parameters of all work; each kind reads what it needs.
type Load struct {
	Dir     string `json:"dir"`
	Bytes   int    `json:"bytes,omitempty"`
	Ops     int    `json:"ops,omitempty"`
	Clients int    `json:"clients,omitempty"`
	Pages   int    `json:"pages,omitempty"`
	Deltas  int    `json:"deltas,omitempty"` // of each page
	Order   string `json:"order,omitempty"`  // sequential, random or reuse
	Settle  bool   `json:"settle,omitempty"` // wait for merges before bytes are counted
	Seed    uint64 `json:"seed,omitempty"`
}

// ErrNone is the error of a helper that was not given.
var ErrNone = errors.New("the program with the heavy peers is not built (make bench-peers)")

// Helper is the running helper program. It is for one task at a time.
type Helper struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// Start starts the helper; an empty program is ErrNone.
func Start(program string) (*Helper, error) {
	if program == "" {
		return nil, ErrNone
	}
	h := &Helper{cmd: exec.Command(program)}
	h.cmd.Stderr = os.Stderr
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true} // Ctrl-C is not for it.
	var err error
	if h.in, err = h.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start peers: %w", err)
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start peers: %w", err)
	}
	h.out = bufio.NewReader(out)
	if err := h.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start peers: %w", err)
	}
	return h, nil
}

// Close ends the helper.
func (h *Helper) Close() error {
	if err := h.in.Close(); err != nil {
		return fmt.Errorf("end peers: %w", err)
	}
	if err := h.cmd.Wait(); err != nil {
		return fmt.Errorf("end peers: %w", err)
	}
	return nil
}

// Do has the helper work, and returns what it measured.
func (h *Helper) Do(ctx context.Context, op string, load Load) (paired.Sample, error) {
	params, err := json.Marshal(load)
	if err != nil {
		return paired.Sample{}, fmt.Errorf("ask peers: %w", err)
	}
	line, err := json.Marshal(Request{Op: op, Params: params})
	if err != nil {
		return paired.Sample{}, fmt.Errorf("ask peers: %w", err)
	}
	if _, err := h.in.Write(append(line, '\n')); err != nil {
		return paired.Sample{}, fmt.Errorf("ask peers: %w", err)
	}
	reply, err := h.out.ReadBytes('\n')
	if err != nil {
		return paired.Sample{}, fmt.Errorf("ask peers for %s: %w", op, err)
	}
	var a Answer
	if err := json.Unmarshal(reply, &a); err != nil {
		return paired.Sample{}, fmt.Errorf("read peers' answer: %w", err)
	}
	if a.Error != "" {
		return paired.Sample{}, fmt.Errorf("peers: %s: %s", op, a.Error)
	}
	return a.sample(), ctx.Err()
}

func (a *Answer) sample() paired.Sample {
	s := paired.Sample{Metrics: a.Metrics}
	if s.Metrics == nil {
		s.Metrics = map[string]float64{}
	}
	if len(a.Flat) == 0 {
		return s
	}
	var buckets []latency.Bucket
	for pair := range slices.Chunk(a.Flat, 2) {
		buckets = append(buckets, latency.Bucket{Nanos: pair[0], Count: pair[1]})
	}
	// The helper made it of buckets of the same kind.
	s.Latency, _ = latency.FromBuckets(buckets)
	return s
}

// Fill puts a histogram into the answer.
func (a *Answer) Fill(h *latency.Histogram) {
	for _, b := range h.Buckets() {
		a.Flat = append(a.Flat, b.Nanos, b.Count)
	}
}

// Arm is an arm whose work the helper does.
func (h *Helper) Arm(name, settings, op string, load Load) paired.Arm {
	return paired.Arm{Name: name, Settings: settings, Run: func(ctx context.Context, round int) (paired.Sample, error) {
		each := load
		each.Dir = fmt.Sprintf("%s-%d", load.Dir, round)
		return h.Do(ctx, op, each)
	}}
}
