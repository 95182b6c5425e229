package control

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/env/osenv"
	"github.com/varvedb/varve/wal/env/s3"
)

// localBucket is where the bucket of a data directory is unless another was named.
func localBucket(dir string) string { return filepath.Join(dir, "bucket") }

// bucketLocation returns the bucket that is asked for, written out, so that it means the
// same in any directory and environment; empty if none is.
func (c Config) bucketLocation() (string, error) {
	switch {
	case c.Bucket == "":
		return "", nil
	case strings.HasPrefix(c.Bucket, s3.Scheme):
		location, err := s3.Canonical(c.Bucket)
		if err != nil {
			return "", Errorf(CodeUsage, "--bucket: %v", err)
		}
		return location, nil
	case strings.Contains(c.Bucket, "://"):
		return "", Errorf(CodeUsage, "--bucket %q: want a directory, or s3://BUCKET[/PREFIX][?endpoint=URL][&region=REGION]", c.Bucket)
	}
	return filepath.Abs(c.Bucket)
}

// bucketOf returns where the bucket of a project is, which is for good: refuses any other
// that is asked for. A new project gets what is asked for.
func bucketOf(cfg Config, p project, isNew bool) (string, error) {
	asked, err := cfg.bucketLocation()
	if err != nil {
		return "", err
	}
	has := p.Bucket
	if has == "" {
		has = localBucket(cfg.Dir)
	}
	switch {
	case asked == "", asked == has:
		return has, nil
	case isNew:
		return asked, nil
	}
	return "", Errorf(CodeConflict, "the data of %s is in the bucket %s, not in %s: leave out --bucket, or choose another data directory with --dir", cfg.Dir, has, asked)
}

// openBucket finds the project's bucket, and whether it is there, open to us, and fit for
// its purpose.
func (s *Supervisor) openBucket(ctx context.Context, isNew bool) (err error) {
	if s.bucket, err = bucketOf(s.cfg, s.project, isNew); err != nil {
		return err
	}
	if s.env, err = osenv.New(osenv.Config{Root: s.cfg.Dir, Bucket: s.bucket}); err != nil {
		return err
	}
	if s.bucket != localBucket(s.cfg.Dir) {
		s.project.Bucket = s.bucket
		s.cfg.Progress("trying the bucket " + s.bucket)
	}
	if isNew {
		if err := s.begin(ctx); err != nil {
			return err
		}
	}
	if err := remote.Probe(ctx, s.env.Bucket, s.project.Tenant); err != nil {
		return bucketError(s.bucket, err)
	}
	return s.checkIndexes(ctx)
}

// bucketError names the fix of what is wrong with a bucket.
func bucketError(location string, err error) error {
	var trouble *s3.TroubleError
	if !errors.As(err, &trouble) {
		switch {
		case err == nil:
			return nil
		case errors.Is(err, remote.ErrUnfit):
			return Errorf(CodeFailed, "bucket %s: %v: keep it on a server with conditional writes, If-Match and If-None-Match", location, err)
		}
		return fmt.Errorf("bucket %s: %w", location, err)
	}
	fix := "start it, or correct the endpoint"
	switch trouble.Kind {
	case s3.ErrNoBucket:
		fix = "make it there first, or correct its name"
	case s3.ErrDenied:
		fix = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment of `varve up` to what may read, write, list and delete there"
	}
	return &Error{Code: CodeFailed, Message: fmt.Sprintf("bucket %s: %v: %s", location, trouble, fix), cause: err}
}

// bucketWait bounds how long the status waits for the bucket: longer than a server that
// refuses is tried again, which takes up to two seconds, so that its reason is told.
const bucketWait = 5 * time.Second

// bucketTrouble says why the bucket cannot be read, if that is so.
func (s *Supervisor) bucketTrouble(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, bucketWait)
	defer cancel()
	_, err := s.env.Bucket.Head(ctx, remote.ProbeKey(s.project.Tenant))
	switch {
	case err == nil, errors.Is(err, env.ErrNoObject):
		return ""
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("it does not answer within %s", bucketWait)
	}
	return bucketError(s.bucket, err).Error()
}
