package s3

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/varvedb/varve/wal/env"
)

const (
	// maxAttempts, firstPause: the last pause is 0.8 s, so a server that refuses
	// throughout is given up on within 2 s.
	maxAttempts = 5
	firstPause  = 100 * time.Millisecond
)

// outcome is what a failed request did, and so what may be done about it.
type outcome uint8

const (
	refused outcome = iota // it did nothing, and would do nothing again
	busy                   // it did nothing: the server asks for patience or was not reached
	unknown                // it may have taken effect, or may yet
)

// outcomeOf tells what the request that failed with err, as the library returned it, did.
func outcomeOf(err error) outcome {
	switch minio.ToErrorResponse(err).StatusCode {
	case 0: // no answer
	case http.StatusConflict, http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return busy
	case http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout:
		return unknown
	default:
		return refused
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return busy
	}
	return unknown
}

// retry makes a request until it succeeds, its outcome is not one that is tried again, or
// the attempts are used up. idempotent requests are tried again after unknown outcomes. None
// is sent while the server wants to be left alone.
func (b *bucket) retry(ctx context.Context, idempotent bool, request func() error) error {
	pause := firstPause
	for attempt := 1; ; attempt++ {
		if !b.patience.wait(ctx) {
			return context.Cause(ctx)
		}
		err := request()
		if err == nil || attempt == maxAttempts || ctx.Err() != nil {
			return err
		}
		switch outcomeOf(err) {
		case refused:
			return err
		case unknown:
			if !idempotent {
				return err
			}
		}
		if !sleep(ctx, pause/2+rand.N(pause/2)) {
			return err
		}
		pause *= 2
	}
}

// sleep returns false if ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// putError makes Put's error.
func putError(key string, cond env.Condition, err error) error {
	answer := minio.ToErrorResponse(err)
	if answer.StatusCode == http.StatusPreconditionFailed || isNoObject(answer) && cond.IfMatch != "" {
		return fmt.Errorf("put %s: %w: %w", key, env.ErrPrecondition, err)
	}
	return changeError("put", key, err)
}

// changeError makes the error of a request that changes something.
func changeError(verb, key string, err error) error {
	named := fmt.Errorf("%s %s: %w", verb, key, explain(err))
	if outcomeOf(err) == unknown {
		return &env.UnknownError{Err: named}
	}
	return named
}

// readError makes the error of a request that changes nothing.
func readError(verb, key string, err error) error {
	if isNoObject(minio.ToErrorResponse(err)) {
		return fmt.Errorf("%s %s: %w", verb, key, env.ErrNoObject)
	}
	return fmt.Errorf("%s %s: %w", verb, key, explain(err))
}
