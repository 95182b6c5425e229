package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/compute/control"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show what runs", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			status, err := client.Status(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(status, []string{"NAME", "STATE", "PID", "WHERE"}, statusRows(status))
		},
	}
}

func statusRows(status control.Status) (rows [][]string) {
	for _, p := range status.Processes {
		where := p.Addr
		if p.Why != "" {
			where = oneLine(p.Why)
		}
		rows = append(rows, []string{p.Name, p.State, pidText(p.PID), orDash(where)})
	}
	rows = append(rows, bucketRow(status), []string{"history", "-", "-", windowText(status.Window)})
	for _, b := range status.Branches {
		if b.Stopped != "" {
			rows = append(rows, []string{"branch " + b.Name, control.StateStopped, "-", oneLine(b.Stopped)})
		}
		e := b.Endpoint
		if e == nil {
			rows = append(rows, []string{"endpoint " + b.Name, control.StateStopped, "-", "-"})
			continue
		}
		where := e.URL
		switch e.State {
		case control.StateFailed:
			where = oneLine(e.Failure)
		case control.StateStarting:
			where = oneLine(e.Step)
		}
		rows = append(rows, []string{"endpoint " + b.Name, e.State, pidText(e.PID), orDash(where)})
	}
	for _, r := range status.Readers {
		rows = append(rows, []string{"reader " + r.ID, r.State, pidText(r.PID), orDash(r.URL)})
	}
	return rows
}

func bucketRow(status control.Status) []string {
	if status.BucketWhy != "" {
		return []string{"bucket", control.StateUnreachable, "-", oneLine(status.BucketWhy)}
	}
	return []string{"bucket", "-", "-", status.Bucket}
}

// windowText says what stays readable of each branch.
func windowText(w control.Window) string {
	if w.Seconds < 0 {
		return "kept " + forever
	}
	return fmt.Sprintf("kept for %s, and for %s of log if that is more", history{&w}, (*size)(&w.Bytes))
}

func pidText(pid int) string {
	if pid == 0 {
		return "-"
	}
	return strconv.Itoa(pid)
}
