// Package control knows a project's branches and endpoints and acts on them: it
// is what `varve up` runs and what every other subcommand asks.
//
// # Whose word counts
//
// The bucket is the authority on timelines. A branch's name is stored in the
// timeline's index there, so that branches survive the loss of everything else.
// The state file (bbolt) holds what cannot be asked of the bucket: which tenant
// this directory serves, where its bucket is, and which port each endpoint prefers.
//
// # The supervisor
//
// [Supervisor] owns one process each for the safekeepers, the pageserver and
// every endpoint. Safekeepers and pageserver are started again when they die; an
// endpoint is not, since only its user knows whether it should live. It serves an
// HTTP API with JSON bodies on a unix socket, `run/control.sock` below its
// directory; [Client] speaks it. Failures cross the API as [Error], whose Code
// decides the exit code of a command.
//
// # Points in time
//
// A [Point] names a branch, and optionally a moment of it: main, main@0/16B3748,
// main@2026-11-22T10:00:00Z.
package control
