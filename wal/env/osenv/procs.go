package osenv

import (
	"os"
	"runtime"
)

// cores is how many tasks can compute at once.
var cores = runtime.GOMAXPROCS(0)

// flushesAtOnce is how many of a commit's flushes are under way at the same time, if all
// of its safekeepers are in one process.
const flushesAtOnce = 3

// AllowFlushes lets as many flushes be under way as a commit has, and all cores still
// compute. Programs that hold safekeepers call it once, first.
//
// A task in a flush keeps one of the runtime's GOMAXPROCS places until the runtime's
// monitor takes it away, which it does after some tens of microseconds or some
// milliseconds. With as many places as cores, and few cores, the flushes of two
// safekeepers leave none for the task that would begin the third, or hear the first:
// on two cores a small commit took two to three times as long, at the same CPU time
// (go test ./bench/paths -bench Commit/bytes=64 -cpu 2,5). Where PostgreSQL has the cores
// too, as in suite pgbench, it is no clear gain.
//
// GOMAXPROCS in the environment is left as it is.
func AllowFlushes() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(cores + flushesAtOnce)
	}
}
