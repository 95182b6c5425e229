package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"

	"github.com/spf13/cobra"
)

// profiles is where a command writes what its own process spends, for go tool pprof.
type profiles struct {
	cpu, alloc string // empty: not wanted
	file       *os.File
}

// flags has every command below root write the profiles that are asked for.
func (p *profiles) flags(root *cobra.Command) {
	root.PersistentFlags().StringVar(&p.cpu, "cpuprofile", "", "write a CPU profile of this process")
	root.PersistentFlags().StringVar(&p.alloc, "allocprofile", "", "write a profile of all that this process allocated")
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return p.begin() }
}

func (p *profiles) begin() (err error) {
	if p.cpu == "" {
		return nil
	}
	if p.file, err = os.Create(p.cpu); err != nil {
		return fmt.Errorf("make profile: %w", err)
	}
	if err := pprof.StartCPUProfile(p.file); err != nil {
		return fmt.Errorf("make profile: %w", err)
	}
	return nil
}

// end completes the profiles, of a command that failed too.
func (p *profiles) end() (err error) {
	if p.file != nil {
		pprof.StopCPUProfile()
		err = p.file.Close()
	}
	if p.alloc != "" {
		err = errors.Join(err, p.writeAllocs())
	}
	return err
}

func (p *profiles) writeAllocs() error {
	f, err := os.Create(p.alloc)
	if err != nil {
		return fmt.Errorf("make profile: %w", err)
	}
	runtime.GC() // the profile is complete up to the last collection
	return errors.Join(pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
}
