package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
)

// ErrUnfit: the object store takes conditional writes whose condition does not hold, so
// that two owners of a timeline could both think that they replaced its index.
var ErrUnfit = errors.New("the object store ignores the conditions of writes")

// probeBody never changes, so any number of stores may probe at once.
var probeBody = []byte("varve asks whether this store keeps the conditions of writes\n")

// ProbeKey is the key of the object that [Probe] tries to overwrite.
func ProbeKey(tenant wal.TenantID) string { return TenantPrefix(tenant) + "probe" }

// CheckProbe checks the content of that object.
func CheckProbe(tenant wal.TenantID, body []byte) error {
	if !bytes.Equal(body, probeBody) {
		return wal.Corruptf(ProbeKey(tenant), 0, "text of the probe", fmt.Sprintf("%q", probeBody), fmt.Sprintf("%d other bytes", len(body)))
	}
	return nil
}

// Probe finds out by four writes of one small object whether the bucket refuses those
// whose condition does not hold and takes the one whose condition does, and whether it
// names contents, without which there is no condition. It fails with ErrUnfit if not. A store that cannot be asked is another error.
func Probe(ctx context.Context, b env.Bucket, tenant wal.TenantID) error {
	key := ProbeKey(tenant)
	if _, err := b.Put(ctx, key, probeBody, env.IfAbsent()); err != nil && !errors.Is(err, env.ErrPrecondition) {
		return fmt.Errorf("probe bucket: %w", err)
	}
	_, tag, err := b.Get(ctx, key)
	if err != nil {
		return fmt.Errorf("probe bucket: %w", err)
	}
	if tag == "" {
		return fmt.Errorf("probe bucket: %w: it does not name the content that it read", ErrUnfit)
	}
	for _, write := range []struct {
		what  string
		cond  env.Condition
		taken bool
	}{
		{"creating an object that exists", env.IfAbsent(), false},
		{"replacing content that the object does not have", env.IfMatch(other(tag)), false},
		{"replacing the content that the object has", env.IfMatch(tag), true},
	} {
		put, err := b.Put(ctx, key, probeBody, write.cond)
		refused := errors.Is(err, env.ErrPrecondition)
		switch {
		case err != nil && !refused:
			return fmt.Errorf("probe bucket: %w", err)
		case refused && write.taken:
			return fmt.Errorf("probe bucket: %w: it refused %s", ErrUnfit, write.what)
		case !refused && !write.taken:
			return fmt.Errorf("probe bucket: %w: it took %s", ErrUnfit, write.what)
		case write.taken && put == "":
			return fmt.Errorf("probe bucket: %w: it does not name the content that it wrote", ErrUnfit)
		}
	}
	return nil
}

// other returns a tag of tag's form that is another one.
func other(tag env.ETag) env.ETag {
	b := []byte(tag)
	for i, c := range b {
		if c >= '0' && c <= '9' {
			b[i] = '0' + (c-'0'+1)%10
			return env.ETag(b)
		}
	}
	return tag + "0"
}
