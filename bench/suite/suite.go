// Package suite lists the suites. Each lives in a package of its own below, and consists
// of a Config, its two sizes Full and Quick, and a Run.
package suite

import (
	"fmt"
	"strings"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/bench/suite/appendlog"
	"github.com/varvedb/varve/bench/suite/branch"
	"github.com/varvedb/varve/bench/suite/coldstart"
	"github.com/varvedb/varve/bench/suite/flush"
	"github.com/varvedb/varve/bench/suite/getpage"
	"github.com/varvedb/varve/bench/suite/ingest"
	"github.com/varvedb/varve/bench/suite/pgbench"
	"github.com/varvedb/varve/bench/suite/redo"
	"github.com/varvedb/varve/bench/suite/simulator"
	"github.com/varvedb/varve/bench/suite/storage"
	"github.com/varvedb/varve/bench/suite/travel"
)

// All are the suites, in the order of their letters.
func All() []bench.Suite {
	return []bench.Suite{
		appendlog.Suite(),
		ingest.Suite(),
		getpage.Suite(),
		redo.Suite(),
		flush.Suite(),
		branch.Suite(),
		travel.Suite(),
		coldstart.Suite(),
		pgbench.Suite(),
		simulator.Suite(),
		storage.Suite(),
	}
}

// Named are the suites by these names or letters; "all" names all.
func Named(names []string) (suites []bench.Suite, err error) {
	for _, name := range names {
		if name == "all" {
			return All(), nil
		}
		found := false
		for _, s := range All() {
			if s.Name == name || s.Letter == name {
				suites, found = append(suites, s), true
			}
		}
		if !found {
			return nil, fmt.Errorf("there is no suite %s: there are %s", name, strings.Join(Names(), ", "))
		}
	}
	return suites, nil
}

// Names are the suites' names.
func Names() (names []string) {
	for _, s := range All() {
		names = append(names, s.Name)
	}
	return names
}
