// Package picker decides which layers are merged next. It is pure: a description of
// the layers goes in, a [Job] comes out.
//
// # Levels
//
//	2  collected   merged down to the bottom, without what nobody can read
//	1  merged      cut at the guards, the keys at which the store is partitioned
//	0  flushed     memtables as they were written: all keys, few LSNs
//
// Jobs, the most pressing first:
//
//	flushed  as many layers of level 0 as a job may have, once there are Options.Flushed:
//	         every read may have to look into each of them
//	collect  a part that has layers of level 1 below the cutoff, of at least a quarter of
//	         what lies in level 2 there: of those bytes, most are history that nobody can
//	         read. So level 2 is written anew once for every quarter of it that changed
//	read     a part whose layers were read for more deltas than writing it anew costs
//	tiers    Options.Fanout neighbouring tiers of alike sizes: a key is in one layer of
//	         each tier, so their number stays logarithmic
//
// A *part* is a set of layers of levels 1 and 2 whose key ranges hang together. A
// *tier* is the layers of a part between two LSNs that no layer of the part lies
// across. What is merged is always all that a part has between two LSNs: what comes
// out lies nowhere across a layer that stayed.
//
// A layer that cannot be read is set aside: no job has it. Nothing may lie across it either,
// so in its part jobs end at the tier that it is in.
//
// Without new layers, without reads and with a cutoff that stands, there is no job: an
// idle store costs nothing.
package picker
