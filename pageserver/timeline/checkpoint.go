package timeline

import (
	"context"

	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/wal/pgwal"
)

// xlog takes in the records that change the control file and the counters.
func (t *Timeline) xlog(ctx context.Context, rec *pgwal.Record) error {
	switch rec.Op() {
	case pgwal.OpXLOGCheckpointShutdown, pgwal.OpXLOGCheckpointOnline:
		c, err := pgwal.ParseCheckPoint(rec)
		if err != nil {
			return err
		}
		t.checkpoint(rec, c)
	case pgwal.OpXLOGNextOID:
		oid, err := pgwal.ParseNextOID(rec)
		if err != nil {
			return err
		}
		t.counters.setNextOID(oid)
	case pgwal.OpXLOGParameterChange:
		p, err := pgwal.ParseParameterChange(rec)
		if err != nil {
			return err
		}
		return t.parameterChange(ctx, p)
	case pgwal.OpXLOGFPWChange:
		on, err := pgwal.ParseFPWChange(rec)
		if err != nil {
			return err
		}
		t.counters.control.CheckPointCopy.FullPageWrites = on
		t.counters.changed.control = true
	}
	return nil
}

// checkpoint keeps the record as the control file's copy. What a shutdown says of the
// counters is exact; at an online checkpoint they have moved on since, so they only
// rise. Object ids wrap around at any time, so none is known to be higher: those of an
// online checkpoint, which may be older than the last NEXTOID, say nothing.
func (t *Timeline) checkpoint(rec *pgwal.Record, p pgwal.CheckPoint) {
	c := &t.counters
	c.control.CheckPoint, c.control.CheckPointCopy = rec.LSN, p
	c.control.Time = p.Time
	c.changed.control = true

	next := pgkey.NextMultiValue{Multi: p.NextMulti, Offset: p.NextMultiOffset}
	oldestXID := pgkey.OldestValue{ID: p.OldestXID, DB: p.OldestXIDDB}
	oldestMulti := pgkey.OldestValue{ID: p.OldestMulti, DB: p.OldestMultiDB}
	commitTs := pgkey.CommitTsRangeValue{Oldest: p.OldestCommitTsXID, Newest: p.NewestCommitTsXID}
	if rec.Op() == pgwal.OpXLOGCheckpointShutdown {
		c.setNextOID(p.NextOID)
		c.setNextXID(uint64(p.NextXID))
		c.setNextMulti(next)
		c.setOldestXID(oldestXID)
		c.setOldestMulti(oldestMulti)
		c.setCommitTs(commitTs)
		return
	}
	c.setNextXID(max(c.nextXID, uint64(p.NextXID)))
	c.seeMulti(next)
	if xidPrecedes(c.oldestXID.ID, p.OldestXID) {
		c.setOldestXID(oldestXID)
	}
	if int32(c.oldestMulti.ID-p.OldestMulti) < 0 {
		c.setOldestMulti(oldestMulti)
	}
}

// parameterChange keeps the settings that pg_control holds.
func (t *Timeline) parameterChange(ctx context.Context, p pgwal.ParameterChange) error {
	if err := t.trackCommitTs(ctx, p.TrackCommitTimestamp); err != nil {
		return err
	}
	f := &t.counters.control
	f.MaxConnections = p.MaxConnections
	f.MaxWorkerProcesses = p.MaxWorkerProcesses
	f.MaxWALSenders = p.MaxWALSenders
	f.MaxPreparedXacts = p.MaxPreparedXacts
	f.MaxLocksPerXact = p.MaxLocksPerXact
	f.WALLevel = uint32(p.WALLevel)
	f.WALLogHints = p.WALLogHints
	f.TrackCommitTimestamp = p.TrackCommitTimestamp
	t.counters.changed.control = true
	return nil
}

// standby learns the next transaction id: one that was given out and never wrote
// anything appears nowhere else.
func (t *Timeline) standby(rec *pgwal.Record) error {
	if rec.Op() != pgwal.OpStandbyRunningXacts {
		return nil
	}
	running, err := pgwal.ParseRunningXacts(rec)
	if err != nil {
		return err
	}
	if running.NextXID != firstNormalXID {
		t.counters.seeXID(running.NextXID - 1)
	}
	return nil
}
