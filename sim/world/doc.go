// Package world is a simulated world behind [env.Env]: clocks, disks, a network, an
// object store, tasks and every fault of theirs, all drawn from one seed.
//
// The promise: a run is a function of its [Config] and of the programs that it runs.
// The same seed gives the same trace, bit for bit, whatever the machine, the
// garbage collector or the race detector do; so a failure is one number.
//
// # How it runs
//
// One task runs at a time. A task is a coroutine of package iter; every call of Env
// that waits hands control to the scheduler. What is to happen later is an entry of
// a heap ordered by virtual time. What could run now is a list, and the seed picks
// from it. No wall time passes but that of computing.
//
// Every decision is a small number below a bound, made by a named sub-stream
// ([Choices]) and recorded: one more decision in one stream moves nothing in the
// others. All of them are the run's [Tape]; a world that is given a tape decides as
// it says. 0 is the least eventful choice, and is what a tape says beyond its end, so
// that a tape which is cut short or zeroed in places is a simpler run. The nodes' own
// randomness (env.Rand) is hashed from the seed and is not on the tape.
//
// Everything that happens is an [Entry] of the trace and goes into a rolling hash.
// Two runs that should be alike and are not differ first where their entries do:
// compare what Config.Log receives.
//
//	w := world.New(world.Config{Seed: 7, Faults: world.DrawFaults(7)})
//	defer w.Close()
//	n := w.Node("sk1")
//	n.Start(func(ctx context.Context, e env.Env) error { return keeper(e).Run(ctx) })
//	w.Storm(n)
//	err := w.Run(time.Minute)   // a panic of a task, with its stack
//	w.Calm()
//	err = w.Run(2 * time.Minute)
//
// # Death
//
// A node that dies is fenced first: every call of its Env returns [ErrKilled] and
// does nothing. Then its tasks are unwound, so that no deferred call can repair
// anything; what they still do in memory is of no account, and their panics are not
// reported. The disk stays. Bytes that the node gave to the network are under way
// still; a request to the bucket may still arrive.
//
// [Node.Crash] is the death of a process: the kernel lives, keeps what was written
// and closes the connections. [Node.Kill] is the loss of power: peers hear nothing
// until the node is started again, and of what was not synced the faults decide what
// is lost. [Node.KillAtCall] does that at a call of Env of a given number, so that a
// short program can be killed at each of its calls in turn ([Node.Calls] counts).
//
// # The disk
//
// What is durable is what [env.FS] says, and nothing else. A sync makes durable what
// was written before it began. At a loss of power each block of 4 KiB that was not
// synced is kept, lost, or torn into sectors of 512 bytes; each change of a
// directory is kept or lost as a whole, a rename too.
//
// # The network
//
// A connection is two streams of ordered bytes with a bounded window. Bytes on a cut
// link wait and are sent again when it heals; an end that nobody answers for fails
// after [ErrTimeout]'s quarter of an hour; an end whose peer is gone hears of it
// when it sends. A host's name in an address means nothing: what listens at an
// address is found, wherever it is. Unix sockets are seen by their own node only. Bytes
// on a clogged link arrive when it is free, without anybody sending them again.
//
// # The CPU
//
// Computing takes no time, but on a slow node, where a turn of a task and CPU work take
// some, one after the other.
//
// # The bucket
//
// One bucket is shared by all nodes. A request, once sent, happens or not whatever
// becomes of its caller: so a dead or fenced owner's late write is an ordinary event.
// Lists, like all reads, are strongly consistent, as Varve requires of a store.
//
// # Faults
//
// [Faults] says how often and how badly each [FaultKind] happens; it can be printed,
// parsed, and cut down kind by kind. [DrawFaults] draws it from a seed, each kind off
// half of the time. Each node has a copy ([Node.Faults]); [Node.Trust] spares it the
// faults by which a disk deceives, of which a quorum survives a minority only.
// [World.Storm] begins the episodes, [World.Calm] ends all faults.
//
// What it does not do: judge what the programs did, or choose what they do (packages
// above do); model a kernel's page cache under memory pressure; or find data races,
// since tasks never run at once.
package world
