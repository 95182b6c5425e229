package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"

	"github.com/varvedb/varve/bench/latency"
	"github.com/varvedb/varve/bench/meter"
	"github.com/varvedb/varve/bench/peer"
)

// walAppend makes ops entries durable in etcd's log, each before the next.
func walAppend(_ context.Context, load peer.Load) (peer.Answer, error) {
	log, err := wal.Create(zap.NewNop(), load.Dir, nil)
	if err != nil {
		return peer.Answer{}, err
	}
	defer log.Close()
	data := make([]byte, load.Bytes)
	h, cpu := latency.New(), meter.Self()
	for n := range load.Ops {
		begin := time.Now()
		if err := appendEntry(log, uint64(n)+1, data); err != nil {
			return peer.Answer{}, err
		}
		h.Since(begin)
	}
	a := peer.Answer{Metrics: map[string]float64{"cpu_us_per_op": float64((meter.Self() - cpu).Microseconds()) / float64(load.Ops)}}
	a.Fill(h)
	return a, nil
}

// ensemble is three members in this process, as Varve's three safekeepers are in theirs.
type ensemble struct {
	members []*embed.Etcd
	client  *clientv3.Client
}

var cluster *ensemble

// etcdPut puts ops values through the ensemble, from so many clients at once.
func etcdPut(ctx context.Context, load peer.Load) (peer.Answer, error) {
	if cluster == nil {
		var err error
		if cluster, err = newEnsemble(ctx, load.Dir); err != nil {
			return peer.Answer{}, err
		}
	}
	value := strings.Repeat("x", load.Bytes)
	var clients sync.WaitGroup
	hists, errs := make([]*latency.Histogram, load.Clients), make([]error, load.Clients)
	begin, cpu := time.Now(), meter.Self()
	for c := range load.Clients {
		hists[c] = latency.New()
		clients.Go(func() {
			for n := range load.Ops / load.Clients {
				begin := time.Now()
				if _, err := cluster.client.Put(ctx, fmt.Sprintf("%d/%d", c, n%100), value); err != nil {
					errs[c] = err
					return
				}
				hists[c].Since(begin)
			}
		})
	}
	clients.Wait()
	took, used := time.Since(begin), meter.Self()-cpu
	h := latency.New()
	for _, each := range hists {
		h.Merge(each)
	}
	a := peer.Answer{Metrics: map[string]float64{
		"cpu_us_per_op": float64(used.Microseconds()) / float64(h.Count()),
		"per_s":         float64(h.Count()) / took.Seconds(),
	}}
	a.Fill(h)
	return a, errors.Join(errs...)
}

func newEnsemble(ctx context.Context, dir string) (*ensemble, error) {
	type place struct{ name, peer, client string }
	var places []place
	var members []string
	for n := range 3 {
		p := place{name: fmt.Sprint("m", n), peer: freeURL(), client: freeURL()}
		places = append(places, p)
		members = append(members, p.name+"="+p.peer)
	}
	e := &ensemble{}
	var endpoints []string
	for _, p := range places {
		cfg := embed.NewConfig()
		cfg.Name, cfg.Dir = p.name, filepath.Join(dir, p.name)
		cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = urls(p.peer), urls(p.peer)
		cfg.ListenClientUrls, cfg.AdvertiseClientUrls = urls(p.client), urls(p.client)
		cfg.InitialCluster = strings.Join(members, ",")
		cfg.LogLevel, cfg.LogOutputs = "fatal", []string{os.DevNull}
		cfg.QuotaBackendBytes = 8 << 30
		member, err := embed.StartEtcd(cfg)
		if err != nil {
			return nil, err
		}
		e.members = append(e.members, member)
		endpoints = append(endpoints, p.client)
	}
	for _, m := range e.members {
		<-m.Server.ReadyNotify()
	}
	// Ask the leader itself: a follower would only pass the request on.
	leader := e.members[0].Server.Leader()
	for i, m := range e.members {
		if m.Server.MemberID() == leader {
			endpoints = endpoints[i : i+1]
			break
		}
	}
	var err error
	e.client, err = clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop(), DialTimeout: 10 * time.Second, Context: ctx})
	return e, err
}

func (e *ensemble) close() {
	_ = e.client.Close()
	for _, m := range e.members {
		m.Close()
	}
}

// freeURL names a port of the loopback that nobody listens on.
func freeURL() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

func urls(text string) []url.URL {
	u, err := url.Parse(text)
	if err != nil {
		panic(err)
	}
	return []url.URL{*u}
}

// appendEntry saves one entry as a member does: with the hard state that commits the one
// before, so that the log flushes.
func appendEntry(log *wal.WAL, index uint64, data []byte) error {
	term, commit := uint64(1), index-1
	state := &raftpb.HardState{Term: &term, Commit: &commit}
	return log.Save(state, []*raftpb.Entry{{Term: &term, Index: &index, Data: data}})
}
