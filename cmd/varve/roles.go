package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/compute/control"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env/osenv"
	"github.com/varvedb/varve/wal/safekeeper"
)

// ready tells the supervisor, or whoever started this role, that it serves.
func ready(details string) { fmt.Println("ready", details) }

// step tells whoever reads the log, and the supervisor, what this role begins.
func step(text string) {
	talk("%s", text)
	fmt.Println("step", text)
}

// logger writes a role's log, on standard error.
func logger() *slog.Logger { return slog.New(slog.NewTextHandler(os.Stderr, nil)) }

func (a *app) safekeeperCommand() *cobra.Command {
	var id uint64
	var data, bucket, listen string
	cmd := &cobra.Command{
		Use: "safekeeper", Short: "Run one safekeeper in the foreground (varve up does this)", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if id == 0 {
				return control.Errorf(control.CodeUsage, "a safekeeper needs a number of its own: --id N, from 1 on")
			}
			e, err := osenv.New(osenv.Config{Root: data, Bucket: bucket, Logger: logger()})
			if err != nil {
				return err
			}
			s := safekeeper.New(e, safekeeper.Config{ID: wal.NodeID(id), Dir: ".", Listen: listen})
			return serveUntilReady(cmd.Context(), s.Run, s.Ready)
		},
	}
	cmd.Flags().Uint64Var(&id, "id", 0, "number of this safekeeper, unique among those of the project")
	cmd.Flags().StringVar(&data, "data", "safekeeper", "its directory")
	cmd.Flags().StringVar(&bucket, "bucket", "bucket", "directory of the bucket")
	cmd.Flags().StringVar(&listen, "listen", "tcp:127.0.0.1:0", "address, unix:PATH or tcp:HOST:PORT")
	return cmd
}

// serveUntilReady runs a server until ctx ends, and tells its address once it
// listens. An end that was asked for is no failure.
func serveUntilReady(ctx context.Context, run func(context.Context) error, addr func(context.Context) (string, error)) error {
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	if a, err := addr(ctx); err == nil {
		ready(a)
	}
	err := <-ended
	if ctx.Err() != nil {
		return nil
	}
	return err
}
