// Package paired is the protocol by which two things are compared on a machine that
// others use as well.
//
// The promise: a ratio is always one of two measurements of the same round, taken one
// right after the other; nothing is ever divided by a figure of another round, day or
// machine. What is reported is the list of these ratios: median, quartiles, least and
// greatest.
//
// # A round
//
//	canary       four small measurements of the machine itself, after all is written out;
//	             taken again for some seconds while it is worse than it may be
//	conditions   load, pressure, stolen time and others' CPU time are noted
//	case 1       arm A, arm B       in even rounds
//	             arm B, arm A       in odd ones: two rounds are ABBA
//	case 2 ...
//
// A round whose canary is more than 1.5 times worse than the session's best in any of
// its four parts was disturbed, and so was one during which processes that are not ours
// used more than a tenth of the machine's CPU time: its times are dropped, and how many
// were is told. Its counters stay, for they do not depend on who else uses the machine.
//
// A gate takes the pessimistic quartile of the ratios, see [Spread.Pessimistic].
//
// What it does not do: it knows nothing of what is measured, and writes no files.
package paired
