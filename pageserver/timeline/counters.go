package timeline

import (
	"context"
	"fmt"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pgcontrol"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/wal"
)

// firstNormalXID is the first transaction id that is given out; those below have
// fixed meanings and are skipped when ids wrap around.
const firstNormalXID = 3

// firstMulti is the first multixact that is given out.
const firstMulti = 1

// counters are the values of which a cluster has one, as of the last record taken in.
type counters struct {
	control     pgcontrol.File
	nextXID     uint64
	nextMulti   pgkey.NextMultiValue
	nextOID     uint32
	oldestXID   pgkey.OldestValue
	oldestMulti pgkey.OldestValue
	commitTs    pgkey.CommitTsRangeValue
	lastCommit  int64 // the latest time of a commit or abort; 0 if there was none

	changed changes
}

// changes says which counters the current record changed.
type changes struct {
	control, nextXID, nextMulti, nextOID, oldestXID, oldestMulti, commitTs bool
}

// seeXID raises the next transaction id above xid.
func (c *counters) seeXID(xid uint32) {
	next := uint32(c.nextXID)
	if xid < firstNormalXID || int32(xid-next) < 0 {
		return
	}
	epoch := c.nextXID >> 32
	if xid < next {
		epoch++
	}
	full := epoch<<32 | uint64(xid)
	for full++; uint32(full) < firstNormalXID; full++ {
	}
	c.setNextXID(full)
}

func (c *counters) setNextXID(full uint64) {
	if c.nextXID != full {
		c.nextXID, c.changed.nextXID = full, true
	}
}

// seeMulti raises the next multixact and member offset to at least these.
func (c *counters) seeMulti(next pgkey.NextMultiValue) {
	value := c.nextMulti
	if int32(next.Multi-value.Multi) > 0 {
		value.Multi = next.Multi
	}
	if int32(next.Offset-value.Offset) > 0 {
		value.Offset = next.Offset
	}
	c.setNextMulti(value)
}

func (c *counters) setNextMulti(value pgkey.NextMultiValue) {
	if c.nextMulti != value {
		c.nextMulti, c.changed.nextMulti = value, true
	}
}

func (c *counters) setNextOID(oid uint32) {
	if c.nextOID != oid {
		c.nextOID, c.changed.nextOID = oid, true
	}
}

func (c *counters) setOldestXID(value pgkey.OldestValue) {
	if c.oldestXID != value {
		c.oldestXID, c.changed.oldestXID = value, true
	}
}

func (c *counters) setOldestMulti(value pgkey.OldestValue) {
	if c.oldestMulti != value {
		c.oldestMulti, c.changed.oldestMulti = value, true
	}
}

func (c *counters) setCommitTs(value pgkey.CommitTsRangeValue) {
	if c.commitTs != value {
		c.commitTs, c.changed.commitTs = value, true
	}
}

// flushTo adds the counters that the record changed to its versions.
func (c *counters) flushTo(b *batch) {
	if c.changed == (changes{}) {
		return
	}
	put := func(changed bool, key lsm.Key, value []byte) {
		if changed {
			b.imageOf(key, value)
		}
	}
	if c.changed.control {
		b.image(pgkey.Control(), c.control.AppendTo(nil))
	}
	var room [8]byte
	none := room[:0]
	put(c.changed.nextXID, pgkey.NextXID(), pgkey.AppendUint64(none, c.nextXID))
	put(c.changed.nextMulti, pgkey.NextMulti(), c.nextMulti.AppendTo(none))
	put(c.changed.nextOID, pgkey.NextOID(), pgkey.AppendUint32(none, c.nextOID))
	put(c.changed.oldestXID, pgkey.OldestXID(), c.oldestXID.AppendTo(none))
	put(c.changed.oldestMulti, pgkey.OldestMulti(), c.oldestMulti.AppendTo(none))
	put(c.changed.commitTs, pgkey.CommitTsRange(), c.commitTs.AppendTo(none))
	c.changed = changes{}
}

// loadCounters reads the counters as of lsn.
func (t *Timeline) loadCounters(ctx context.Context, lsn wal.LSN) (err error) {
	c := &t.counters
	load := func(key lsm.Key, decode func([]byte) error) {
		if err != nil {
			return
		}
		value, ok, readErr := t.value(ctx, key, lsn)
		switch {
		case readErr != nil:
			err = readErr
		case !ok:
			err = fmt.Errorf("%s is absent: %w", pgkey.Describe(key), ErrNotImported)
		default:
			err = decode(value)
		}
	}
	load(pgkey.Control(), func(b []byte) error {
		control, err := pgcontrol.Decode("control file of timeline "+t.id.String(), b)
		if err == nil {
			c.control = *control
		}
		return err
	})
	load(pgkey.NextXID(), func(b []byte) (err error) { c.nextXID, err = pgkey.DecodeUint64(b); return err })
	load(pgkey.NextMulti(), func(b []byte) (err error) { c.nextMulti, err = pgkey.DecodeNextMulti(b); return err })
	load(pgkey.NextOID(), func(b []byte) (err error) { c.nextOID, err = pgkey.DecodeUint32(b); return err })
	load(pgkey.OldestXID(), func(b []byte) (err error) { c.oldestXID, err = pgkey.DecodeOldest(b); return err })
	load(pgkey.OldestMulti(), func(b []byte) (err error) { c.oldestMulti, err = pgkey.DecodeOldest(b); return err })
	load(pgkey.CommitTsRange(), func(b []byte) (err error) { c.commitTs, err = pgkey.DecodeCommitTsRange(b); return err })
	if err != nil {
		return err
	}
	c.lastCommit, err = t.lastCommitTime(ctx, lsn)
	return err
}
