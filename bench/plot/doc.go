// Package plot draws pictures of results: SVG for documents, PNG to look at, and beside
// each the CSV of what is in it, so that anyone can draw it again. A curve of latencies
// has steps of two hundredths; finer ones are in the result.
//
// The promise: every axis says what it shows and in which unit; every caption says how
// much was measured, with which seed, at which commit; and colours are told apart by
// eyes of every kind (Okabe and Ito's palette, with dashes besides).
//
// # The pictures
//
//	latency-SUITE-CASE    tail of the latencies: the share that took longer, log axes
//	cdf-SUITE-CASE        the same from the other end
//	read-cost-*           what a read costs against deltas, layers, depth, size
//	amplification         what reads visit against what writes cost
//	wal-per-transaction   bars
//	coldstart             the steps of a start, one after the other
//	throughput-*          over time, faults as bands, what happened as lines
//	heatmap-latency       time by latency, the darker the more
//	mutants               seeds that it took to find each planted bug
//	goals                 each goal's distance from its bound
//
// What it does not do: judge, or choose what goes into a document.
package plot
