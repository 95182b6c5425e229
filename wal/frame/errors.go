package frame

import (
	"errors"
	"fmt"
)

// Code tells kinds of failed requests apart. Services number theirs from
// CodeService upwards.
type Code uint32

// The codes that every service shares.
const (
	CodeInternal Code = 1  // the request failed for a reason that only its text tells
	CodeBadHello Code = 2  // another service or version
	CodeBadFrame Code = 3  // the request's bytes make no sense
	CodeService  Code = 16 // the first of a service's own
)

// RemoteError is the failure of a request as its server told it.
type RemoteError struct {
	Code Code
	Text string
}

// Errorf makes a RemoteError for a handler to return.
func Errorf(code Code, format string, args ...any) *RemoteError {
	return &RemoteError{Code: code, Text: fmt.Sprintf(format, args...)}
}

func (e *RemoteError) Error() string { return e.Text }

// CodeOf returns the code of the RemoteError in err's chain, 0 if there is none.
func CodeOf(err error) Code {
	var remote *RemoteError
	if errors.As(err, &remote) {
		return remote.Code
	}
	return 0
}

// ErrorFrame is the answer that tells err to the peer: with the code of the
// RemoteError in its chain, or else CodeInternal.
func ErrorFrame(id uint64, err error) Frame {
	remote := RemoteError{Code: CodeOf(err), Text: err.Error()}
	if remote.Code == 0 {
		remote.Code = CodeInternal
	}
	return Frame{Type: TypeError, ID: id, Payload: remote.AppendTo(nil)}
}

// AsError returns the error that a frame of TypeError carries, nil for others.
func AsError(f Frame) error {
	if f.Type != TypeError {
		return nil
	}
	return decodeError(f.Payload)
}
