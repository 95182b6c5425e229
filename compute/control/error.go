package control

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Code says what kind of failure an [Error] is.
type Code string

// The codes.
const (
	CodeFailed   Code = "failed"    // the thing was tried and did not work
	CodeUsage    Code = "usage"     // the request makes no sense
	CodeNotFound Code = "not_found" // no such branch, endpoint, page or history
	CodeConflict Code = "conflict"  // the state forbids it: name taken, has children, in use
	CodeTimeout  Code = "timeout"   // it took longer than it may
)

// Error is a failure that a user can read: one line that names the thing and, if
// there is one, the command that helps.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`

	cause error // on this side of the API only
}

// Unwrap returns what the error was made of, if that is known.
func (e *Error) Unwrap() error { return e.cause }

func (e *Error) Error() string { return e.Message }

// Errorf makes an [Error].
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// CodeOf returns the code of err: that of the [Error] in it, or CodeFailed.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeFailed
}

var plainWord = regexp.MustCompile(`^[-+=:,./_@%A-Za-z0-9]+$`)

// shellWord writes a word as a shell reads it, for commands that are to be copied.
func shellWord(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
