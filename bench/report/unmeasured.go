package report

import (
	"strings"

	"github.com/varvedb/varve/bench/goal"
)

// beyond is what the goals' protocols ask for, and no suite does.
const beyond = `
Nor is, though no goal stands for it:

- the first query on a new branch (f); clones by xfs reflink (f)
- the first TPC-B transaction after a start, and the time until its rate is nine tenths of what it comes to (h)
- starts of databases up to 10 GB: they are of scale 1, 10 and 40, some 600 MB at most (h)
- 21 paired starts: a round has one pair, so a run has nine (h)
- branches beside 10,000 others: there are 1,000 at most (f)
- anything with clients and servers pinned to cores of their own, beside what is measured without
- reads past the kernel's page cache, by O_DIRECT (c)
- RocksDB, by db_bench, universal and leveled: Pebble stands in for it (e)
- a thousand runs of one seed with equal hashes: a round runs one seed, and twice again (j)
- redo by kind of record: the rates are of whole logs (d)
- commits of 64 B and 128 KiB by 4 and 16 clients: they are by 1 and 64 (a)
- Neon's values of 100 B: they are of 150 B; the store without its flush; COPY and index builds as logs of their own: they are parts of one (b)
- images on file with 1, 100 and 1000 deltas: there are 0 and 10; batches by number of deltas; Pebble at 1000 deltas (c)
- every page that is read compared with PostgreSQL's: what is read here was not made by one, its deltas are Generic records (c)
- Pebble on the skewed stream: it gets the uniform one (e)
- cp -r (f); the mount of a btrfs snapshot (g); gosim (j); a data directory on btrfs with zstd (k)
`

// unmeasured lists the goals without a measurement, and why, and what no goal stands for.
func (d *document) unmeasured(outcomes []goal.Outcome) {
	d.linef("\n## What is not measured\n")
	for _, o := range outcomes {
		if o.Why != "" && !strings.HasPrefix(o.Why, "suite ") {
			d.linef("- **%s**: %s: %s", o.ID, o.Text, o.Why)
		}
	}
	d.WriteString(beyond)
}
