// Package bench is the frame of Varve's benchmarks: what a suite is, what a run of one
// leaves behind, and how it is shown while it runs.
//
// The promise: whatever a result says can be traced to what was measured. It names the
// commit, the machine, the seed, every option, and the settings of every peer; it holds
// every number of every round, those of disturbed rounds too; and it is on disk after
// each round, so that an interrupted run leaves complete rounds behind.
//
// # A suite
//
// A suite is a function of a [Session] and of its own Config: it builds what it
// measures, and hands its cases to [Session.Measure], which takes them through the
// rounds of package paired. Suites live below package suite.
//
// # What is on disk
//
//	DIR/SUITE.json   a Result: all that there is to know; format.go
//	DIR/SUITE.csv    the same numbers, one a line: round,quiet,case,arm,metric,value
//
// # Names of metrics
//
// A metric's name ends in its unit: p50_us, cpu_us_per_op, bytes_per_op, per_s. Those of
// a case have the same meaning for all of its arms.
//
// What it does not do: judge (package goal) or draw (packages plot and report).
package bench
