package control

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/varvedb/varve/compute/endpoint"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/frame"
	"github.com/varvedb/varve/wal/quorum"
	"github.com/varvedb/varve/wal/walapi"
)

// surveyWait bounds how long the status waits for a safekeeper. They are all asked at
// once, and answer from memory.
const surveyWait = 2 * time.Second

// branchLog is the log of a branch, which every safekeeper should have.
type branchLog struct {
	branch   string
	timeline wal.TimelineID
}

// survey asks the safekeepers that run how they stand to the logs of the branches.
func (s *Supervisor) survey(ctx context.Context, processes []Process, branches []Branch) error {
	logs, err := s.madeLogs(ctx, branches)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, surveyWait)
	defer cancel()
	var asked sync.WaitGroup
	for i := range processes[:s.project.Safekeepers] { // they come first
		if p := &processes[i]; p.State == StateRunning {
			asked.Go(func() { surveySafekeeper(ctx, s.env, p, logs) })
		}
	}
	asked.Wait()
	return nil
}

// madeLogs lists the branches whose logs were ever made on the safekeepers.
func (s *Supervisor) madeLogs(ctx context.Context, branches []Branch) (logs []branchLog, err error) {
	for _, b := range branches {
		made, err := endpoint.LogMade(ctx, s.env, quorum.Identity{Tenant: s.project.Tenant, Timeline: b.Timeline})
		if err != nil {
			return nil, fmt.Errorf("look for the log of branch %s: %w", b.Name, err)
		}
		if made {
			logs = append(logs, branchLog{b.Name, b.Timeline})
		}
	}
	return logs, nil
}

// surveySafekeeper completes what is known of a safekeeper whose process runs.
func surveySafekeeper(ctx context.Context, e env.Env, p *Process, logs []branchLog) {
	client, err := walapi.Dial(ctx, e, p.Addr)
	if err != nil {
		p.State, p.Why = StateUnreachable, err.Error()
		return
	}
	defer client.Close()
	p.Logs = len(logs)
	for _, log := range logs {
		_, err := client.Status(ctx, log.timeline)
		switch code := frame.CodeOf(err); {
		case err == nil:
		case code == walapi.CodeAmnesiac, code == walapi.CodeNoTimeline:
			p.Absent = append(p.Absent, AbsentLog{log.branch, StateAmnesiac, err.Error()})
		case code != 0:
			p.Absent = append(p.Absent, AbsentLog{log.branch, StateFailed, err.Error()})
		default:
			p.State, p.Why = StateUnreachable, err.Error()
			return
		}
	}
	p.State, p.Why = standing(p.Absent, p.Logs)
}

// standing sums up the logs that a safekeeper takes no part in.
func standing(absent []AbsentLog, logs int) (state, why string) {
	if len(absent) == 0 {
		return StateRunning, ""
	}
	state = StateFailed
	var reasons []string
	for _, a := range absent {
		if a.State == StateAmnesiac {
			state = StateAmnesiac
		}
		reasons = append(reasons, fmt.Sprintf("%s (%s)", a.Branch, a.Why))
	}
	return state, fmt.Sprintf("takes no part in %d of %d logs: %s", len(absent), logs, strings.Join(reasons, ", "))
}
