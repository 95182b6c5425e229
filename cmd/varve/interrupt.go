package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// exitInterrupted is the exit code of a command that Ctrl-C, or another request to
// end, cut short: the shell's for the first of them.
const exitInterrupted = 128 + int(syscall.SIGINT)

// errInterrupted is the error of such a command.
var errInterrupted = errors.New("interrupted")

// stopSignals ask for an orderly end. nohup's wish to ignore a hangup is respected.
func stopSignals() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// interrupted tells err, of a request to the supervisor, in words that say what
// becomes of the request, if it is the end of ctx that cut it short.
func interrupted(ctx context.Context, err error, becomes string, args ...any) error {
	if !isCut(ctx, err) {
		return err
	}
	return fmt.Errorf("%w: %s", errInterrupted, fmt.Sprintf(becomes, args...))
}

// isCut reports whether err only says that ctx has ended.
func isCut(ctx context.Context, err error) bool {
	return ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(ctx)))
}

// childCode is the exit code of a child, passed on as shells do: 128 and the number
// of the signal that ended it.
func childCode(child *exec.ExitError) int {
	if status, ok := child.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return child.ExitCode()
}

// runChild runs a program in our place at the terminal. Ctrl-C there reaches it as it
// reaches us, and means it: psql cancels a query and goes on. Requests to end reach
// only us, and are passed on.
func runChild(cmd *exec.Cmd) error {
	asked := make(chan os.Signal, 8)
	signal.Notify(asked, stopSignals()...)
	defer signal.Stop(asked)
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-asked:
			if s != os.Interrupt {
				// An error means that it has ended, which is what is wanted.
				_ = cmd.Process.Signal(s)
			}
		case err := <-ended:
			return err
		}
	}
}
