package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"github.com/varvedb/varve/wal"
)

// lockWait is how long opening the state file waits for another process to let
// go of it. A second supervisor should hear of the first at once, but one that is
// just stopping needs a moment.
const lockWait = 2 * time.Second

// state is the supervisor's own memory: a bbolt file of JSON values.
type state struct{ db *bbolt.DB }

var (
	projectBucket  = []byte("project")
	endpointBucket = []byte("endpoints") // by branch name
	branchBucket   = []byte("branches")  // by timeline id
	projectKey     = []byte("project")
)

// project is what a data directory is.
type project struct {
	Tenant      wal.TenantID `json:"tenant"`
	Safekeepers int          `json:"safekeepers"`
	Bucket      string       `json:"bucket,omitempty"` // where it is, if not in the directory
	Window      Window       `json:"history,omitzero"`
	// Set while the first branch is made: one that is there then is not whole.
	Bootstrapping bool `json:"bootstrapping,omitempty"`
	// Set where a state file was lost and begun anew: branches may have been that nobody
	// remembers, and so may those that were deleted.
	Forgot bool `json:"forgot,omitempty"`
}

// endpointRecord is what is remembered of a branch's endpoint.
type endpointRecord struct {
	Port int `json:"port"`
}

func openState(path string) (*state, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockWait})
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return nil, Errorf(CodeConflict, "%s is in use by another varve that starts or stops: see `varve status` in a moment", path)
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, Errorf(CodeFailed, "%s may not be opened: run varve as the owner of the data directory, or name one of your own with --dir", path)
	}
	if errors.Is(err, bbolterrors.ErrInvalid) || errors.Is(err, bbolterrors.ErrChecksum) || errors.Is(err, bbolterrors.ErrVersionMismatch) {
		return nil, Errorf(CodeFailed, "%s is damaged (%v): restore it, or move it away: the next `varve up` then goes on with the tenant that it finds in the bucket", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open state file: %w", err)
	}
	s := &state{db: db}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare state file: %w", err), db.Close())
	}
	return s, nil
}

// prepare makes the buckets that a file has not. One that has all it leaves as it is.
func (s *state) prepare() error {
	isNew := false
	err := s.db.View(func(tx *bbolt.Tx) error {
		isNew = tx.Bucket(branchBucket) == nil
		return nil
	})
	if err != nil || !isNew {
		return err
	}
	return s.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{projectBucket, endpointBucket, branchBucket} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *state) Close() error { return s.db.Close() }

// project returns the directory's project, and whether there is one yet.
func (s *state) project() (p project, found bool, err error) {
	found, err = s.get(projectBucket, projectKey, &p)
	return p, found, err
}

func (s *state) setProject(p project) error { return s.put(projectBucket, projectKey, p) }

func (s *state) endpoint(branch string) (r endpointRecord, found bool, err error) {
	found, err = s.get(endpointBucket, []byte(branch), &r)
	return r, found, err
}

func (s *state) setEndpoint(branch string, r endpointRecord) error {
	return s.put(endpointBucket, []byte(branch), r)
}

func (s *state) deleteEndpoint(branch string) error { return s.delete(endpointBucket, []byte(branch)) }

// branches returns what is remembered of the branches.
func (s *state) branches() (map[wal.TimelineID]branchRecord, error) {
	known := map[wal.TimelineID]branchRecord{}
	err := s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(branchBucket).ForEach(func(key, body []byte) error {
			id, err := wal.ParseTimelineID(string(key))
			if err != nil {
				return err
			}
			var record branchRecord
			err = json.Unmarshal(body, &record)
			known[id] = record
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read the branches of the state file: %w", err)
	}
	return known, nil
}

func (s *state) setBranch(id wal.TimelineID, r branchRecord) error {
	return s.put(branchBucket, []byte(id.String()), r)
}

func (s *state) deleteBranch(id wal.TimelineID) error {
	return s.delete(branchBucket, []byte(id.String()))
}

func (s *state) delete(bucket, key []byte) error {
	err := s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucket).Delete(key) })
	if err != nil {
		return fmt.Errorf("delete %s from the state file: %w", key, err)
	}
	return nil
}

func (s *state) get(bucket, key []byte, value any) (found bool, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		body := tx.Bucket(bucket).Get(key)
		if body == nil {
			return nil
		}
		found = true
		return json.Unmarshal(body, value)
	})
	if err != nil {
		return false, fmt.Errorf("read %s of the state file: %w", key, err)
	}
	return found, nil
}

func (s *state) put(bucket, key []byte, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	err = s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucket).Put(key, body) })
	if err != nil {
		return fmt.Errorf("write %s to the state file: %w", key, err)
	}
	return nil
}
