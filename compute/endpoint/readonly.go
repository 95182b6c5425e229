package endpoint

import (
	"context"
	"errors"

	"github.com/varvedb/varve/compute/pgdata"
	"github.com/varvedb/varve/pageserver/basebackup"
)

// readOnly runs a standby without a primary at an LSN.
func (l *life) readOnly(ctx context.Context) error {
	// The checkpoint is in no log, so no reader minds its xl_prev.
	state, err := l.startState(ctx, l.cfg.At, 0)
	if err != nil {
		return err
	}
	if err := makeStandby(state); err != nil {
		return err
	}
	p, err := l.startPostgres(ctx, pgdata.ReadOnly, l.cfg.At, state)
	if err != nil {
		return err
	}
	l.ready(Ready{Start: l.cfg.At, PID: p.cmd.Process.Pid})
	select {
	case <-p.exited:
		return p.exit()
	case <-p.log.promoted:
		err = ErrPromoted
	case <-ctx.Done():
	}
	// Nothing in it is worth a checkpoint.
	return errors.Join(err, p.kill())
}

// makeStandby changes a start state's control file where a standby minds what a
// primary does not: the wal_level of the log it would follow. None follows here.
func makeStandby(state *basebackup.State) error {
	const replica = 1
	state.Control.WALLevel = max(state.Control.WALLevel, replica)
	for i := range state.Files {
		if file := &state.Files[i]; file.Path == "global/pg_control" {
			file.Body = state.Control.AppendTo(nil)
			return nil
		}
	}
	return errors.New("make standby: the start state has no control file")
}
