// Package report draws one run of the simulator as one HTML page that needs nothing
// else: what was wrong, the command that runs it again, a lane for each node over the
// whole run and over a closer window, with faults as bands, messages as arrows and what
// nodes noted as marks; the history of each page at fault as porcupine draws it; and
// the first event in which the run differs from a neighbour that passes.
//
// The neighbour is the same run with one kind of fault disarmed: of the kinds that fired,
// in the menu's order, the first without which every checker is satisfied. If there is none,
// as in a run without faults, it is one with a stream of decisions, such as the scheduler's,
// drawn anew from its middle on: of the longest streams, the first with which they are. Up to
// the first divergence the two runs are the same, event for event, so what follows it is
// where the failure began, or what a failure of another cause needs.
//
// What it does not do: judge. It shows what package check has said.
package report
