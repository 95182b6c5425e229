package lsm_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/wal"
)

// textRedo makes text of chains, as text does. Two keys have floors: theirs begin a new
// life every lifeBytes of log, and one of them is dead in every other of its lives.
type textRedo struct{}

const (
	lifeBytes  = 64
	forkKey    = 2
	mortalKey  = 3
	fickleKey  = 4
	pageOfFork = 5
)

func floorOf(k lsm.Key, at wal.LSN) (floor wal.LSN, exists bool) {
	life := at / lifeBytes
	switch k {
	case key(mortalKey):
		return life * lifeBytes, true
	case key(fickleKey):
		return life * lifeBytes, life%2 == 0
	}
	return 0, true
}

func (textRedo) Floor(ctx context.Context, k lsm.Key, at wal.LSN, read func(context.Context, lsm.Key) (lsm.Chain, error)) (wal.LSN, bool, error) {
	if k == key(mortalKey) {
		if _, err := read(ctx, key(0)); err != nil {
			return 0, false, err
		}
	}
	floor, exists := floorOf(k, at)
	return floor, exists, nil
}

func (textRedo) Apply(dst []byte, _ lsm.Key, c *lsm.Chain) ([]byte, error) {
	return append(dst, text(*c)...), nil
}

// pagedRedo has a key more with a floor, a page: it lives as long as its fork does, of
// which another key tells, be it the parent's, and is dead below where that was made.
type pagedRedo struct{ textRedo }

func (r pagedRedo) Floor(ctx context.Context, k lsm.Key, at wal.LSN, read func(context.Context, lsm.Key) (lsm.Chain, error)) (wal.LSN, bool, error) {
	if k != key(pageOfFork) {
		return r.textRedo.Floor(ctx, k, at, read)
	}
	fork, err := read(ctx, key(forkKey))
	if err != nil || fork.Empty() {
		return 0, false, err
	}
	made, err := madeAt(fork)
	return made, true, err
}

// madeAt is where a fork was made: the LSN of its first version, which its text tells. The
// chain does not, for merges make images.
func madeAt(fork lsm.Chain) (made wal.LSN, err error) {
	_, lsn, _ := strings.Cut(text(fork), " at ")
	_, err = fmt.Sscanf(lsn, "%d", &made)
	return made, err
}
