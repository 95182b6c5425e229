// Package assert holds the assertions that stay on in production.
//
// An assertion states what must be true if our own code is right. A false one is
// our bug: it panics with an [Error], and nothing recovers from it. Bad bytes and
// operating failures are never asserted; they are errors.
//
// Checks that cost more than the code around them go into an `if assert.Costly`
// block, compiled in only with the build tag varvecostly.
package assert

import "fmt"

// Error is the panic value of a failed assertion.
type Error struct{ Text string }

func (e *Error) Error() string { return "assertion failed: " + e.Text }

// That panics unless ok. The text states positively what should hold.
//
// That boxes its args even when ok holds; on a path that must not allocate, test
// first and call [Failf].
func That(ok bool, format string, args ...any) {
	if !ok {
		Failf(format, args...)
	}
}

// Failf panics: control came to a place, or a value to a state, that cannot be.
func Failf(format string, args ...any) {
	panic(&Error{Text: fmt.Sprintf(format, args...)})
}
