package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/compute/control"
	"github.com/varvedb/varve/compute/endpoint"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/env/osenv"
	"github.com/varvedb/varve/wal/proposer"
)

// endpointRoleCommand is the process of one endpoint: its proposer and its Postgres.
func (a *app) endpointRoleCommand() *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use: "endpoint-process", Short: "Run one Postgres and its proposer in the foreground (varve endpoint start does this)", Hidden: true, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			body, err := os.ReadFile(config)
			if err != nil {
				return fmt.Errorf("read the endpoint's configuration: %w", err)
			}
			var cfg control.EndpointConfig
			if err := json.Unmarshal(body, &cfg); err != nil {
				return fmt.Errorf("read the endpoint's configuration %s: %w", config, err)
			}
			ctx, stop := orphaned(cmd.Context())
			defer stop()
			return runEndpoint(ctx, cfg)
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "file that `varve endpoint start` wrote")
	return cmd
}

// orphaned returns a context whose end abandons the endpoint if it comes from the end
// of the supervisor: the safekeepers, which an orderly stop needs, end then as well.
func orphaned(ctx context.Context) (context.Context, context.CancelFunc) {
	abandonable, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(context.Cause(ctx), control.ErrOrphaned) {
			cancel(endpoint.ErrAbandoned)
		}
		cancel(context.Canceled)
	})
	return abandonable, func() { stop(); cancel(nil) }
}

func runEndpoint(ctx context.Context, cfg control.EndpointConfig) error {
	// Not cfg.Dir itself, which is the endpoint's to make, for PostgreSQL to enter.
	e, err := osenv.New(osenv.Config{Root: filepath.Dir(cfg.Dir), Bucket: cfg.Bucket, Logger: logger()})
	if err != nil {
		return err
	}
	status, stopStatus := context.WithCancel(context.WithoutCancel(ctx))
	defer stopStatus()
	return endpoint.Run(ctx, e, endpointConfig(cfg), endpoint.Events{
		Step:  step,
		Ready: func(r endpoint.Ready) { announce(status, e, cfg, r) },
	})
}

// announce serves the commit LSN and tells the supervisor that Postgres serves.
func announce(ctx context.Context, _ env.Env, cfg control.EndpointConfig, r endpoint.Ready) {
	if r.CommitLSN != nil {
		go func() {
			if err := control.ServeCommitLSN(ctx, cfg.Status, r.CommitLSN); err != nil {
				talk("varve: %v", err)
			}
		}()
	}
	body, err := json.Marshal(control.EndpointReady{Start: r.Start, Term: r.Term, PID: r.PID, User: r.User})
	if err != nil {
		talk("varve: tell that the endpoint is ready: %v", err)
		return
	}
	ready(string(body))
}

func endpointConfig(cfg control.EndpointConfig) endpoint.Config {
	members := make([]proposer.Safekeeper, len(cfg.Safekeepers))
	for i, addr := range cfg.Safekeepers {
		members[i] = proposer.Safekeeper{ID: wal.NodeID(i + 1), Addr: addr}
	}
	return endpoint.Config{
		Name: cfg.Name, Dir: cfg.Dir, Identity: cfg.Identity, At: cfg.At,
		Pageserver: cfg.Pageserver, Proposer: cfg.Proposer, Safekeepers: members,
		PGBin: cfg.PGBin, Port: cfg.Port, SocketDir: cfg.SocketDir, ListenAddress: cfg.Address,
		Logger: logger(),
	}
}
