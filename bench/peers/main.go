// Command varve-bench-peers holds the stores that Varve is measured against and whose
// modules are too heavy for Varve's own: Pebble and etcd. Package peer of bench starts it
// and documents how it is spoken to.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/varvedb/varve/bench/peer"
)

// work is what the program can be asked to do.
var work = map[string]func(ctx context.Context, load peer.Load) (peer.Answer, error){
	"pebble-append":  pebbleAppend,
	"pebble-store":   pebbleStore,
	"pebble-load":    pebbleLoad,
	"pebble-getpage": pebbleGetPage,
	"etcdwal-append": walAppend,
	"etcd-put":       etcdPut,
}

func main() {
	if err := serve(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "varve-bench-peers:", err)
		os.Exit(1)
	}
}

// serve answers requests until standard input ends.
func serve(ctx context.Context) error {
	in := bufio.NewReader(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return closeAll()
		}
		var request peer.Request
		if err := json.Unmarshal(line, &request); err != nil {
			return fmt.Errorf("read request: %w", err)
		}
		if err := out.Encode(answer(ctx, request)); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
}

func answer(ctx context.Context, request peer.Request) peer.Answer {
	fn, ok := work[request.Op]
	if !ok {
		return peer.Answer{Error: "no such work"}
	}
	var load peer.Load
	if err := json.Unmarshal(request.Params, &load); err != nil {
		return peer.Answer{Error: err.Error()}
	}
	a, err := fn(ctx, load)
	if err != nil {
		return peer.Answer{Error: err.Error()}
	}
	return a
}

// closeAll ends what requests have left open.
func closeAll() error {
	if cluster != nil {
		cluster.close()
	}
	if pages.db != nil {
		return pages.db.Close()
	}
	return nil
}
