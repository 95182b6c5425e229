package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/compute/control"
	"github.com/varvedb/varve/pageserver"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env/osenv"
)

func (a *app) pageserverCommand() *cobra.Command {
	var data, bucket, listen, tenant string
	var window control.Window
	var safekeepers []string
	var indexCache int64
	cmd := &cobra.Command{
		Use: "pageserver", Short: "Run the pageserver in the foreground (varve up does this)", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			id, err := wal.ParseTenantID(tenant)
			if err != nil {
				return control.Errorf(control.CodeUsage, "--tenant: %v", err)
			}
			e, err := osenv.New(osenv.Config{Root: data, Bucket: bucket, Logger: logger()})
			if err != nil {
				return err
			}
			cfg := pageserver.Config{Tenant: id, Listen: listen, Safekeepers: safekeepers, OpenDir: control.OpenDir, Ready: ready}
			window.Tune(&cfg.Store)
			cfg.Store.IndexCacheBytes = indexCache
			return runPageserver(cmd.Context(), pageserver.New(e, cfg))
		},
	}
	cmd.Flags().StringVar(&data, "data", "pageserver", "its local directory, a cache")
	cmd.Flags().StringVar(&bucket, "bucket", "bucket", "the bucket: a directory, or s3://BUCKET[/PREFIX][?endpoint=URL][&region=REGION]")
	cmd.Flags().StringVar(&listen, "listen", "tcp:127.0.0.1:0", "address, unix:PATH or tcp:HOST:PORT")
	cmd.Flags().StringVar(&tenant, "tenant", "", "whose timelines to serve")
	cmd.Flags().StringArrayVar(&safekeepers, "safekeeper", nil, "address of a safekeeper; once for each")
	cmd.Flags().Int64Var(&window.Seconds, "history-seconds", 0, "how long history stays readable; -1: for ever (default 7 days)")
	cmd.Flags().Int64Var(&window.Bytes, "history-bytes", 0, "how much log of it, if that is more (default 64 MiB)")
	cmd.Flags().Var((*size)(&indexCache), "index-cache", "memory for the indexes and key filters of layers, a thousandth of the data that is read (default 64MiB)")
	return cmd
}

// runPageserver runs a server until ctx ends. An end that was asked for is no failure.
func runPageserver(ctx context.Context, s *pageserver.Server) error {
	err := s.Run(ctx)
	if ctx.Err() != nil {
		return nil
	}
	return err
}
