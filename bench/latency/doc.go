// Package latency records how long operations took: a histogram of bounded size and
// of three significant digits, from 100 ns to 100 s.
//
// The promise: a latency counts from the moment at which an operation was meant to
// begin. Where arrivals are paced (see [Pace]), an operation that had to wait behind a
// slow one is charged for the wait, so that a stall shows in the tail as what it is.
//
// What it does not do: it keeps no single latencies, and knows no units but the
// nanosecond.
package latency
