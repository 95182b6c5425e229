package endpoint

import (
	"context"
	"errors"
	"fmt"

	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/proposer"
	"github.com/varvedb/varve/wal/quorum"
	"github.com/varvedb/varve/wal/walapi"
)

// EnsureLog makes a timeline's log on the safekeepers at its first start, and checks
// at later ones that it is the same log. A safekeeper that has lost the log must not
// be given an empty one, so only the object in the bucket says which start is first, and
// the safekeeper looks there again before it makes a log: this start may be so slow that
// another, which began later, has been the first. Two first starts at once make the same
// log.
func EnsureLog(ctx context.Context, e env.Env, id quorum.Identity, safekeepers []proposer.Safekeeper) error {
	key := walapi.MadeKey(id)
	made, err := readLogObject(ctx, e, key)
	if errors.Is(err, env.ErrNoObject) {
		made, err = makeLog(ctx, e, key, id, safekeepers)
	}
	if err != nil {
		return err
	}
	if made != id {
		return fmt.Errorf("read %s: the log was made as %+v, not as %+v", key, made, id)
	}
	return nil
}

// makeLog makes the log as the first start does, and returns which one there is then. If
// it cannot, another first start may have been quicker.
func makeLog(ctx context.Context, e env.Env, key string, id quorum.Identity, safekeepers []proposer.Safekeeper) (quorum.Identity, error) {
	failed := createLog(ctx, e, id, safekeepers)
	if failed == nil {
		return writeLogObject(ctx, e, key, id)
	}
	made, err := readLogObject(ctx, e, key)
	if err != nil {
		return quorum.Identity{}, failed
	}
	return made, nil
}

// LogMade reports whether a timeline's log was ever made, that is whether there was a first
// start.
func LogMade(ctx context.Context, e env.Env, id quorum.Identity) (bool, error) {
	_, err := readLogObject(ctx, e, walapi.MadeKey(id))
	if errors.Is(err, env.ErrNoObject) {
		return false, nil
	}
	return err == nil, err
}

func readLogObject(ctx context.Context, e env.Env, key string) (quorum.Identity, error) {
	body, _, err := e.Bucket.Get(ctx, key)
	if err != nil {
		return quorum.Identity{}, fmt.Errorf("read %s: %w", key, err)
	}
	return walapi.DecodeMade(key, body)
}

// writeLogObject writes the object, and returns what is there afterwards: ours, or
// that of another first start. An unknown outcome is settled the same way, by
// reading; if nothing is there then, the start fails and the next one is a first.
func writeLogObject(ctx context.Context, e env.Env, key string, id quorum.Identity) (quorum.Identity, error) {
	_, err := e.Bucket.Put(ctx, key, walapi.AppendMade(nil, id), env.IfAbsent())
	if err != nil && !errors.Is(err, env.ErrPrecondition) && !env.IsUnknown(err) {
		return quorum.Identity{}, fmt.Errorf("write %s: %w", key, err)
	}
	made, readErr := readLogObject(ctx, e, key)
	if readErr != nil {
		return quorum.Identity{}, errors.Join(err, readErr)
	}
	return made, nil
}

// createLog needs every safekeeper: one that is away could not be told later.
func createLog(ctx context.Context, e env.Env, id quorum.Identity, safekeepers []proposer.Safekeeper) error {
	for _, s := range safekeepers {
		client, err := walapi.Dial(ctx, e, s.Addr)
		if err == nil {
			err = errors.Join(client.Create(ctx, id), client.Close())
		}
		if err != nil {
			return fmt.Errorf("make the log on safekeeper %d, which the first start needs: %w", s.ID, err)
		}
	}
	return nil
}
