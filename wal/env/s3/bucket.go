package s3

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sort"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/varvedb/varve/wal/env"
)

const (
	// maxRequests bounds the requests under way at a time.
	maxRequests = 32
	// answerTimeout bounds how long the server may think about a request. It does not
	// bound the transfer of a body, which goes on as long as bytes flow.
	answerTimeout = time.Minute
)

type bucket struct {
	client   minio.Core
	location location
	slots    chan struct{}
	patience patience
}

// Open returns the bucket at a location. It sends nothing: whether the server is there,
// and good enough, the first calls tell.
func Open(text string) (env.Bucket, error) {
	loc, err := parse(text)
	if err != nil {
		return nil, err
	}
	transport, err := minio.DefaultTransport(loc.secure)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", text, err)
	}
	transport.MaxIdleConnsPerHost = maxRequests
	transport.ResponseHeaderTimeout = answerTimeout
	b := &bucket{location: loc, slots: make(chan struct{}, maxRequests), patience: patience{next: transport}}
	core, err := minio.NewCore(loc.host, &minio.Options{
		Creds: credentials.NewChainCredentials([]credentials.Provider{
			&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}, &credentials.IAM{},
		}),
		Secure:       loc.secure,
		Region:       loc.region, // spares a request that asks for it
		BucketLookup: minio.BucketLookupAuto,
		Transport:    &b.patience,
		MaxRetries:   1, // package doc says why
	})
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", text, err)
	}
	b.client = *core
	return b, nil
}

// enter waits for a free slot; leave gives it back.
func (b *bucket) enter(ctx context.Context) error {
	select {
	case b.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (b *bucket) leave() { <-b.slots }

// do runs a request about the object by key, in a slot and again where that is sound.
// run is given the key that the server knows.
func (b *bucket) do(ctx context.Context, key string, idempotent bool, run func(name string) error) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if err := b.enter(ctx); err != nil {
		return err
	}
	defer b.leave()
	return b.retry(ctx, idempotent, func() error { return run(b.location.prefix + key) })
}

func (b *bucket) Put(ctx context.Context, key string, body []byte, cond env.Condition) (env.ETag, error) {
	opts := minio.PutObjectOptions{DisableMultipart: true} // parts would escape the condition
	if cond.IfAbsent {
		opts.SetMatchETagExcept("*")
	}
	if cond.IfMatch != "" {
		opts.SetMatchETag(string(cond.IfMatch))
	}
	var tag env.ETag
	err := b.do(ctx, key, false, func(name string) error {
		info, err := b.client.Client.PutObject(ctx, b.location.bucket, name, bytes.NewReader(body), int64(len(body)), opts)
		tag = env.ETag(info.ETag)
		return cmp.Or(err, named(tag))
	})
	if err != nil {
		return "", putError(key, cond, err)
	}
	return tag, nil
}

// named fails if an answer does not name the content of its object: to replace that on the
// condition that it is still there would be to replace whatever is.
func named(tag env.ETag) error {
	if tag == "" {
		return errors.New("the answer has no ETag")
	}
	return nil
}

func (b *bucket) Get(ctx context.Context, key string) (body []byte, tag env.ETag, err error) {
	err = b.do(ctx, key, true, func(name string) error {
		r, info, _, err := b.client.GetObject(ctx, b.location.bucket, name, minio.GetObjectOptions{})
		if err != nil {
			return err
		}
		defer r.Close()
		tag = env.ETag(info.ETag)
		if body, err = io.ReadAll(r); err != nil {
			return err
		}
		return named(tag)
	})
	if err != nil {
		return nil, "", readError("get", key, err)
	}
	return body, tag, nil
}

func (b *bucket) GetRange(ctx context.Context, key string, off, size int64) ([]byte, error) {
	if off < 0 || size < 0 || off+size < off {
		return nil, fmt.Errorf("get range of %s: %d bytes from %d are no range", key, size, off)
	}
	if size == 0 {
		return b.emptyRange(ctx, key, off) // HTTP cannot ask for it
	}
	var opts minio.GetObjectOptions
	if err := opts.SetRange(off, off+size-1); err != nil {
		return nil, fmt.Errorf("get range of %s: %w", key, err)
	}
	var body []byte
	err := b.do(ctx, key, true, func(name string) error {
		r, info, header, err := b.client.GetObject(ctx, b.location.bucket, name, opts)
		if err != nil {
			return err
		}
		defer r.Close()
		// The server may have sent less, or, if it knows no ranges, all.
		if want := fmt.Sprintf("bytes %d-%d/", off, off+size-1); !strings.HasPrefix(header.Get("Content-Range"), want) {
			return minio.ErrorResponse{
				StatusCode: http.StatusRequestedRangeNotSatisfiable,
				Message:    fmt.Sprintf("%d bytes from %d do not lie inside the object: the server sent %d, range %q", size, off, info.Size, header.Get("Content-Range")),
			}
		}
		body = make([]byte, size)
		_, err = io.ReadFull(r, body)
		return err
	})
	if err != nil {
		return nil, readError("get range of", key, err)
	}
	return body, nil
}

func (b *bucket) emptyRange(ctx context.Context, key string, off int64) ([]byte, error) {
	info, err := b.Head(ctx, key)
	if err != nil {
		return nil, err
	}
	if off > info.Size {
		return nil, fmt.Errorf("get range of %s: it does not reach from 0 to %d: it has %d bytes", key, off, info.Size)
	}
	return []byte{}, nil
}

func (b *bucket) Head(ctx context.Context, key string) (info env.ObjectInfo, err error) {
	err = b.do(ctx, key, true, func(name string) error {
		stat, err := b.client.StatObject(ctx, b.location.bucket, name, minio.StatObjectOptions{})
		info = env.ObjectInfo{Key: key, Size: stat.Size}
		return err
	})
	if err != nil {
		return env.ObjectInfo{}, readError("head", key, err)
	}
	return info, nil
}

func (b *bucket) List(ctx context.Context, prefix string) (found []env.ObjectInfo, err error) {
	if err := b.enter(ctx); err != nil {
		return nil, err
	}
	defer b.leave()
	err = b.retry(ctx, true, func() error {
		found = found[:0]
		opts := minio.ListObjectsOptions{Prefix: b.location.prefix + prefix, Recursive: true}
		for object := range b.client.Client.ListObjectsIter(ctx, b.location.bucket, opts) {
			if object.Err != nil {
				return object.Err
			}
			// Some servers list their directories too.
			if key := strings.TrimPrefix(object.Key, b.location.prefix); !strings.HasSuffix(key, "/") {
				found = append(found, env.ObjectInfo{Key: key, Size: object.Size})
			}
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("list %q: %w", prefix, explain(err))
	}
	sort.Slice(found, func(i, j int) bool { return found[i].Key < found[j].Key })
	return found, nil
}

func (b *bucket) Delete(ctx context.Context, key string) error {
	err := b.do(ctx, key, true, func(name string) error {
		return b.client.Client.RemoveObject(ctx, b.location.bucket, name, minio.RemoveObjectOptions{})
	})
	if err != nil {
		return changeError("delete", key, err)
	}
	return nil
}
