package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/varvedb/varve/compute/control"
)

// varve drives the varve binary.
type varve struct {
	binary string
	dir    string
}

// run runs a subcommand and returns its standard output. What it says to people
// is passed on.
func (v varve) run(ctx context.Context, args ...string) (string, error) {
	fmt.Printf("  $ varve %s\n", strings.Join(args, " "))
	return v.quiet(ctx, args...)
}

func (v varve) quiet(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, v.binary, append([]string{"--dir", v.dir}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil {
		return stdout.String(), fmt.Errorf("varve %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	for line := range strings.Lines(stderr.String()) {
		fmt.Printf("    %s", line)
	}
	return strings.TrimSpace(stdout.String()), nil
}

func (v varve) status(ctx context.Context) (status control.Status, err error) {
	out, err := v.quiet(ctx, "status", "-o", "json")
	if err != nil {
		return status, err
	}
	return status, json.Unmarshal([]byte(out), &status)
}

// endpoint returns the state of a branch's endpoint.
func (v varve) endpoint(ctx context.Context, branch string) (*control.EndpointStatus, error) {
	status, err := v.status(ctx)
	if err != nil {
		return nil, err
	}
	for _, b := range status.Branches {
		if b.Name == branch && b.Endpoint != nil {
			return b.Endpoint, nil
		}
	}
	return nil, fmt.Errorf("branch %s has no endpoint", branch)
}

// process returns the state of a process of the supervisor's.
func (v varve) process(ctx context.Context, name string) (control.Process, error) {
	status, err := v.status(ctx)
	if err != nil {
		return control.Process{}, err
	}
	for _, p := range status.Processes {
		if p.Name == name {
			return p, nil
		}
	}
	return control.Process{}, fmt.Errorf("there is no process %s", name)
}

// program runs one of PostgreSQL's client programs.
func program(ctx context.Context, name string, args ...string) error {
	fmt.Printf("  $ %s %s\n", name, strings.Join(args, " "))
	bin := os.Getenv("VARVE_PG_BIN")
	if bin == "" {
		bin = "/usr/lib/postgresql/15/bin"
	}
	out, err := exec.CommandContext(ctx, filepath.Join(bin, name), args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}
