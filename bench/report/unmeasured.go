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
