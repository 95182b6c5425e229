package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver"
	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/wal/env"
)

// Pageserver is a running pageserver and a client of it.
type Pageserver struct {
	Addr   string
	Client *pageapi.Client
	group  env.Group
}

// StartPageserver starts a pageserver of Tenant on a world, with the timelines that its
// bucket has. Its socket is at path.
func StartPageserver(ctx context.Context, e env.Env, path string, store lsm.Options, safekeepers []string) (*Pageserver, error) {
	ready, ended := make(chan string, 1), make(chan error, 1)
	server := pageserver.New(e, pageserver.Config{
		Tenant: Tenant, Listen: "unix:" + path, Safekeepers: safekeepers, Store: store,
		OpenDir: func(path string) (fs.FS, error) { return os.DirFS(path), nil },
		Ready:   func(addr string) { ready <- addr },
	})
	p := &Pageserver{group: e.Tasks.NewGroup(context.WithoutCancel(ctx))}
	p.group.Go("pageserver", func(ctx context.Context) error {
		err := server.Run(ctx)
		ended <- err
		return err
	})
	select {
	case p.Addr = <-ready:
	case err := <-ended:
		return nil, fmt.Errorf("start pageserver: %w", err)
	}
	var err error
	if p.Client, err = pageapi.Dial(context.WithoutCancel(ctx), e, p.Addr); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

// Stop ends the pageserver.
func (p *Pageserver) Stop() error {
	if p.Client != nil {
		_ = p.Client.Close() // It dies with the server anyway.
	}
	p.group.Stop()
	return p.group.Wait()
}
