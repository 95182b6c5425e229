package control

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/varvedb/varve/compute/pgdata"
)

// bootstrap gives a directory without any branch its main branch: an empty
// database made by initdb, imported like any other directory. If it is interrupted,
// the next start begins again.
func (s *Supervisor) bootstrap(ctx context.Context) error {
	if err := s.finishResets(ctx); err != nil {
		return err
	}
	branches, err := s.Branches(ctx)
	if err != nil {
		return err
	}
	if s.project.Bootstrapping {
		for _, half := range branches {
			if err := s.DeleteBranch(ctx, half.Name); err != nil {
				return err
			}
		}
	} else if len(branches) > 0 {
		return s.rememberBranches(branches)
	}
	s.fresh = true
	if err := s.setBootstrapping(true); err != nil {
		return err
	}
	if err := s.makeMain(ctx); err != nil {
		return err
	}
	return s.setBootstrapping(false)
}

func (s *Supervisor) setBootstrapping(is bool) error {
	s.project.Bootstrapping = is
	return s.state.setProject(s.project)
}

func (s *Supervisor) makeMain(ctx context.Context) error {
	s.cfg.Progress("making an empty database (initdb)")
	temp := filepath.Join(s.cfg.Dir, "endpoints", ".initdb")
	if err := s.initdb(ctx, temp); err != nil {
		return err
	}
	s.cfg.Progress("importing it as branch " + MainBranch)
	if _, err := s.Import(ctx, temp, MainBranch); err != nil {
		return err
	}
	if err := os.RemoveAll(temp); err != nil {
		return fmt.Errorf("remove the imported directory: %w", err)
	}
	return nil
}

func (s *Supervisor) initdb(ctx context.Context, dir string) error {
	// What an interrupted start left behind is not worth keeping.
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove old %s: %w", dir, err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("make directory for initdb: %w", err)
	}
	account, err := pgdata.FindAccount()
	if err != nil {
		return err
	}
	if err := account.Own(dir); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(s.cfg.PGBin, "initdb"),
		"--pgdata", dir, "--username", "postgres", "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync", "--no-instructions")
	// A group of its own, for initdb's children hold its output too, and outlive it if it
	// is killed alone: then nobody would see the end of the output.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: account.Credential(), Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
