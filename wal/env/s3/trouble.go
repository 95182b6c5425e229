package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/minio/minio-go/v7"
)

// Kinds of [TroubleError], for errors.Is.
var (
	// ErrAway: no server answers at the location.
	ErrAway = errors.New("no S3 server answers")
	// ErrNoBucket: the server has no such bucket.
	ErrNoBucket = errors.New("the server has no such bucket")
	// ErrDenied: the server does not let these credentials do it.
	ErrDenied = errors.New("the server refuses the credentials")
)

// TroubleError is in every error that whoever runs the server, or chose the location,
// can put right.
type TroubleError struct {
	Kind  error // ErrAway, ErrNoBucket or ErrDenied
	Cause error
}

func (e *TroubleError) Error() string { return fmt.Sprintf("%v: %v", e.Kind, e.Cause) }

// Unwrap returns kind and cause.
func (e *TroubleError) Unwrap() []error { return []error{e.Kind, e.Cause} }

// isDenied goes by the code as well: versitygw answers 404 and a code of its own to a key
// that it does not know.
func isDenied(answer minio.ErrorResponse) bool {
	return answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden || answer.Code == "XAdminUserNotFound"
}

// isNoObject reports whether a server said that the bucket has no such object. Other
// things may be missing too. An answer without a body has the library's code, NoSuchKey.
func isNoObject(answer minio.ErrorResponse) bool {
	return answer.StatusCode == http.StatusNotFound && answer.Code == minio.NoSuchKey
}

// explain makes a TroubleError of a request's error, as the library returned it, if it is
// one; else it returns that.
func explain(err error) error {
	answer := minio.ToErrorResponse(err)
	var sent *url.Error
	switch {
	case answer.Code == minio.NoSuchBucket:
		return &TroubleError{ErrNoBucket, err}
	case isDenied(answer):
		return &TroubleError{ErrDenied, err}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case answer.StatusCode == 0 && errors.As(err, &sent):
		return &TroubleError{ErrAway, sent.Err} // without the request's URL, which says nothing new
	}
	return err
}
