package basebackup

import (
	"context"
	"fmt"
	"time"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pgcontrol"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
	"github.com/varvedb/varve/wal/pgwal"
)

// counters are the values of a cluster that its log moves one by one, and of which a
// checkpoint takes stock.
type counters struct {
	nextXID     uint64
	nextOID     uint32
	nextMulti   pgkey.NextMultiValue
	oldestXID   pgkey.OldestValue
	oldestMulti pgkey.OldestValue
	commitTs    pgkey.CommitTsRangeValue
}

// countersOf takes them from a checkpoint.
func countersOf(c *pgwal.CheckPoint) counters {
	return counters{
		nextXID:     uint64(c.NextXID),
		nextOID:     c.NextOID,
		nextMulti:   pgkey.NextMultiValue{Multi: c.NextMulti, Offset: c.NextMultiOffset},
		oldestXID:   pgkey.OldestValue{ID: c.OldestXID, DB: c.OldestXIDDB},
		oldestMulti: pgkey.OldestValue{ID: c.OldestMulti, DB: c.OldestMultiDB},
		commitTs:    pgkey.CommitTsRangeValue{Oldest: c.OldestCommitTsXID, Newest: c.NewestCommitTsXID},
	}
}

// putInto puts them into a checkpoint.
func (c *counters) putInto(cp *pgwal.CheckPoint) {
	cp.NextXID = pgwal.FullXID(c.nextXID)
	cp.NextOID = c.nextOID
	cp.NextMulti, cp.NextMultiOffset = c.nextMulti.Multi, c.nextMulti.Offset
	cp.OldestXID, cp.OldestXIDDB = c.oldestXID.ID, c.oldestXID.DB
	cp.OldestMulti, cp.OldestMultiDB = c.oldestMulti.ID, c.oldestMulti.DB
	cp.OldestCommitTsXID, cp.NewestCommitTsXID = c.commitTs.Oldest, c.commitTs.Newest
}

// readCounters reads them as of an LSN. Every cluster has all of them.
func readCounters(ctx context.Context, src Source, at wal.LSN) (c counters, err error) {
	for _, field := range []struct {
		key    lsm.Key
		decode func([]byte) error
	}{
		{pgkey.NextXID(), func(b []byte) (err error) { c.nextXID, err = pgkey.DecodeUint64(b); return err }},
		{pgkey.NextMulti(), func(b []byte) (err error) { c.nextMulti, err = pgkey.DecodeNextMulti(b); return err }},
		{pgkey.NextOID(), func(b []byte) (err error) { c.nextOID, err = pgkey.DecodeUint32(b); return err }},
		{pgkey.OldestXID(), func(b []byte) (err error) { c.oldestXID, err = pgkey.DecodeOldest(b); return err }},
		{pgkey.OldestMulti(), func(b []byte) (err error) { c.oldestMulti, err = pgkey.DecodeOldest(b); return err }},
		{pgkey.CommitTsRange(), func(b []byte) (err error) { c.commitTs, err = pgkey.DecodeCommitTsRange(b); return err }},
	} {
		value, err := mustValue(ctx, src, field.key, at)
		if err == nil {
			err = field.decode(value)
		}
		if err != nil {
			return c, err
		}
	}
	return c, nil
}

// mustValue reads a value that every cluster has.
func mustValue(ctx context.Context, src Source, key lsm.Key, at wal.LSN) ([]byte, error) {
	value, ok, err := src.Value(ctx, key, at)
	if err == nil && !ok {
		err = fmt.Errorf("read %s at %v: no cluster is stored there", pgkey.Describe(key), at)
	}
	return value, err
}

// makeControl makes the shutdown checkpoint and the control file that names it.
func (s *State) makeControl(ctx context.Context, src Source, at, prev wal.LSN, now time.Time) error {
	image, err := mustValue(ctx, src, pgkey.Control(), at)
	if err != nil {
		return err
	}
	control, err := pgcontrol.Decode("stored pg_control", image)
	if err != nil {
		return err
	}
	counters, err := readCounters(ctx, src, at)
	if err != nil {
		return err
	}
	s.Start, s.Record = pgwal.RecordPosition(at), pgwal.RecordStart(at)
	checkpoint := pgwal.CheckPoint{
		Redo:     s.Record,
		TimeLine: 1, PrevTimeLine: 1,
		FullPageWrites: control.CheckPointCopy.FullPageWrites,
		Time:           now.Unix(),
	}
	counters.putInto(&checkpoint)
	s.encode(checkpoint, prev, control.SystemID)

	control.State = pgcontrol.ShutDown
	control.Time = now.Unix()
	control.CheckPoint, control.CheckPointCopy = s.Record, checkpoint
	control.MinRecoveryPoint, control.MinRecoveryTimelineID = 0, 0
	control.BackupStartPoint, control.BackupEndPoint, control.BackupEndRequired = 0, 0, false
	s.Control = control
	return nil
}

func (s *State) encode(checkpoint pgwal.CheckPoint, prev wal.LSN, systemID uint64) {
	encoder := pgwal.NewEncoder(s.Start, prev, systemID)
	start, end := encoder.Append(pgwal.ShutdownCheckpoint(checkpoint.AppendTo(nil)))
	assert.That(start == s.Record, "the checkpoint at %v names itself as %v", start, s.Record)
	s.End, s.WAL = end, encoder.Take()
}
