// Package meter counts what work costs: CPU time of processes, and the flushes, bytes
// and requests that go through an env.Env.
//
// Counters are exact: [Files] and [Objects] stand between a program and its world and
// count each call. CPU time is the kernel's: of this process in microseconds, of
// another process tree in the kernel's ticks of 10 ms. [Disk] counts what reached a disk,
// for peers that count nothing themselves.
//
// What it does not do: it slows nothing down on purpose but where [Files.SyncDelay]
// asks for it, and it measures no elapsed time.
package meter
