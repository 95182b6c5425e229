package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/compute/control"
)

type upFlags struct {
	safekeepers int
	port        int
	bucket      string
	foreground  bool
	events      bool
	window      control.Window
	indexCache  int64
}

func (a *app) upCommand() *cobra.Command {
	var flags upFlags
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start everything and print a connection string",
		Long: "Start the safekeepers, the pageserver and a Postgres on branch main, in the background, and print its URL.\n" +
			"The first time, the data directory is made and an empty database imported into it.\n" +
			"The bucket is a directory in it, or where --bucket says: another directory, or a place on an S3 server that\n" +
			"keeps the conditions of writes. Credentials come from the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY.",
		Example: "  varve up\n" +
			"  varve up --bucket 's3://my-bucket/varve?endpoint=https://s3.example.com&region=eu-west-1'",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := filepath.Abs(a.dir)
			if err != nil {
				return err
			}
			// PostgreSQL's user must be able to enter what is made.
			syscall.Umask(0o022)
			if flags.foreground {
				return a.serve(cmd.Context(), dir, flags)
			}
			return a.launch(cmd.Context(), dir, flags)
		},
	}
	cmd.Flags().IntVar(&flags.safekeepers, "safekeepers", 3, "how many safekeepers a new data directory gets: 1, 3 or 5")
	cmd.Flags().IntVar(&flags.port, "port", 0, "TCP port of branch main's Postgres (default: the one it had, or any free one)")
	cmd.Flags().StringVar(&flags.bucket, "bucket", "", "bucket of a new data directory: a directory, or s3://BUCKET[/PREFIX][?endpoint=URL][&region=REGION] (default: bucket/ in it)")
	cmd.Flags().Var(history{&flags.window}, "history", "how long history stays readable, from now on, such as 7d (default: as it was, at first 7d)")
	cmd.Flags().Var((*size)(&flags.window.Bytes), "history-bytes", "how much log of it stays readable if that is more, such as 64MiB (default: as it was, at first 64MiB)")
	cmd.Flags().Var((*size)(&flags.indexCache), "index-cache", "the pageserver's memory for the indexes and key filters of layers, this time, a thousandth of the data that is read (default 64MiB)")
	cmd.Flags().BoolVar(&flags.foreground, "foreground", false, "stay in the foreground until Ctrl-C")
	cmd.Flags().BoolVar(&flags.events, "events", false, "tell the steps as JSON on standard output")
	// Only launch, below, reads the events.
	_ = cmd.Flags().MarkHidden("events")
	return cmd
}

// event is what a launched supervisor tells its launcher, one JSON line each: a step
// that begins, or that all is ready, or why it is not. After the last two there are
// no more.
type event struct {
	Step   string                  `json:"step,omitempty"`
	Ready  bool                    `json:"ready,omitempty"`
	Main   *control.EndpointStatus `json:"main,omitempty"`    // with Ready, or else
	NoMain *control.Error          `json:"no_main,omitempty"` // why main has no Postgres
	Failed *control.Error          `json:"failed,omitempty"`
}

func (f upFlags) config(dir string) control.Config {
	return control.Config{Dir: dir, Safekeepers: f.safekeepers, Bucket: f.bucket, Port: f.port, Window: f.window, IndexCacheBytes: f.indexCache}
}

// serve is the supervisor's own process.
func (a *app) serve(ctx context.Context, dir string, flags upFlags) error {
	binary, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own binary: %w", err)
	}
	tell := a.tellPerson
	if flags.events {
		signal.Ignore(syscall.SIGPIPE)
		events := json.NewEncoder(os.Stdout)
		tell = func(e event) { _ = events.Encode(e) } // a launcher that is gone hears nothing
	}
	cfg := flags.config(dir)
	cfg.Binary = binary
	cfg.Progress = func(step string) { tell(event{Step: step}) }
	cfg.Ready = func(main *control.EndpointStatus, why error) {
		e := event{Ready: true, Main: main}
		if main == nil {
			e.NoMain = control.Errorf(control.CodeOf(why), "%s", oneLine(why.Error()))
		}
		tell(e)
	}
	err = control.Run(ctx, cfg)
	if err != nil && flags.events {
		tell(event{Failed: control.Errorf(control.CodeOf(err), "%s", oneLine(err.Error()))})
	}
	return err
}

func (a *app) tellPerson(e event) {
	switch {
	case e.Main != nil:
		_ = a.printValue(e.Main, e.Main.URL) // who reads it no longer needs nothing else
	case e.NoMain != nil:
		talk("%s", e.NoMain.Message)
	default:
		talk("%s", e.Step)
	}
}

// launch starts the supervisor as a process of its own, passes on what it tells
// until it is ready, and leaves it running. Ctrl-C before that stops it.
func (a *app) launch(ctx context.Context, dir string, flags upFlags) error {
	if err := control.Check(ctx, flags.config(dir)); err != nil {
		return err
	}
	binary, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own binary: %w", err)
	}
	log, err := openLog(dir)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{"up", "--foreground", "--events", "--dir", dir, fmt.Sprintf("--safekeepers=%d", flags.safekeepers), fmt.Sprintf("--port=%d", flags.port)}
	if flags.bucket != "" {
		args = append(args, "--bucket", flags.bucket)
	}
	if text := (history{&flags.window}).String(); text != "" {
		args = append(args, "--history", text)
	}
	if flags.window.Bytes != 0 {
		args = append(args, "--history-bytes", fmt.Sprint(flags.window.Bytes))
	}
	if flags.indexCache != 0 {
		args = append(args, "--index-cache", fmt.Sprint(flags.indexCache))
	}
	cmd := exec.Command(binary, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Stderr = log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the supervisor: %w", err)
	}
	unlink := context.AfterFunc(ctx, func() {
		// An error means that it has ended, which is what is wanted.
		_ = cmd.Process.Signal(syscall.SIGTERM)
	})
	ready, err := a.relay(stdout)
	if ready && unlink() {
		return errors.Join(err, cmd.Process.Release())
	}
	waitErr := cmd.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("%w: everything is stopped again, run `varve up` once more", errInterrupted)
	}
	if err == nil {
		err = fmt.Errorf("the supervisor ended before it was ready (%v): see %s", waitErr, log.Name())
	}
	return err
}

// relay passes on events until the supervisor is ready or gone.
func (a *app) relay(events io.Reader) (ready bool, err error) {
	for lines := bufio.NewScanner(events); lines.Scan(); {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return false, fmt.Errorf("read the supervisor's events: %w", err)
		}
		if e.Failed != nil {
			return false, e.Failed
		}
		if e.NoMain != nil && e.NoMain.Code != control.CodeNotFound {
			return true, e.NoMain
		}
		a.tellPerson(e)
		if e.Ready {
			return true, nil
		}
	}
	return false, nil
}

func openLog(dir string) (*os.File, error) {
	logs := filepath.Join(dir, "log")
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return nil, fmt.Errorf("make the data directory: %w: name one that you may write to with --dir", err)
	}
	log, err := os.OpenFile(filepath.Join(logs, "supervisor.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the supervisor's log: %w: run this as the owner of the data directory, or name another with --dir", err)
	}
	return log, nil
}

func (a *app) downCommand() *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "Stop everything cleanly", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			if err := client.Shutdown(cmd.Context()); err != nil {
				return interrupted(cmd.Context(), err, "everything goes on stopping; `varve down` once more waits for its end, until no varve runs")
			}
			dir, err := filepath.Abs(a.dir)
			if err != nil {
				return err
			}
			talk("stopped; the data stays in %s", dir)
			return a.printDone(map[string]string{"stopped": dir})
		},
	}
}
