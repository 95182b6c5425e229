package sim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/varvedb/varve/sim/world"
	"github.com/varvedb/varve/wal"
)

// recordVersion is the version of the file of a run.
const recordVersion = 1

// Record is the file of a run: JSON, enough to replay it with the build that it names.
type Record struct {
	Version int
	Commit  string // of the build
	Options Options
	Faults  string // as world.Faults prints them
	Hash    string // of the trace
	Verdict string // what was wrong, if anything
	Tape    []byte // world.Tape in bytes
}

// NewRecord makes the file of a run.
func NewRecord(r *Result) *Record {
	return &Record{
		Version: recordVersion, Commit: Commit(), Options: r.Options, Faults: r.Options.Faults.String(),
		Hash: fmt.Sprintf("%016x", r.Hash), Verdict: r.Failure(), Tape: r.Tape.AppendTo(nil),
	}
}

// Bytes are the file's bytes.
func (r *Record) Bytes() []byte {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return []byte(err.Error())
	}
	return append(b, '\n')
}

// ParseRecord reads a run's file; name is used in errors.
func ParseRecord(name string, b []byte) (*Record, *world.Tape, error) {
	var r Record
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, nil, wal.Corruptf(name, 0, "file of a run", "JSON", err)
	}
	if r.Version != recordVersion {
		return nil, nil, fmt.Errorf("read %s: it has version %d, not %d", name, r.Version, recordVersion)
	}
	var err error
	if r.Options.Faults, err = world.ParseFaults(r.Faults); err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", name, err)
	}
	tape, err := world.DecodeTape(name, r.Tape)
	return &r, tape, err
}

// checkout is the commit that this process was told it is built from.
var checkout string

// BuiltFrom says which commit the process is built from, for builds that do not know
// by themselves: those of go run and go test. It is called before any run.
func BuiltFrom(commit string) { checkout = commit }

// Commit names the commit that the process is built from: what the build knows or,
// if it knows nothing, what [BuiltFrom] was told.
func Commit() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		if commit := embedded(info.Settings); commit != "" {
			return commit
		}
	}
	return cmp.Or(checkout, "unknown, as the build says nothing of it")
}

// embedded is the commit in a build's settings; empty if there is none.
func embedded(settings []debug.BuildSetting) (commit string) {
	modified := ""
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = " modified"
		}
	}
	if commit == "" {
		return ""
	}
	return commit + modified
}

// Failure says what is wrong with a run; empty if nothing is.
func (r *Result) Failure() string {
	var parts []string
	if r.Err != nil {
		parts = append(parts, r.Err.Error())
	}
	for i := range r.Verdicts {
		if !r.Verdicts[i].OK {
			parts = append(parts, r.Verdicts[i].String())
		}
	}
	return strings.Join(parts, "\n")
}

// Name names the run's files, without what comes after the dot.
func (o Options) Name() string {
	if o.Changed > 0 {
		return fmt.Sprintf("%s-%d-changed-%d", o.Profile, o.Seed, o.Changed)
	}
	return fmt.Sprintf("%s-%d", o.Profile, o.Seed)
}

// Command is what runs a run again. One that went by a tape, which may have been changed,
// is run again from its file alone.
func (r *Result) Command() string {
	if r.Given {
		return fmt.Sprintf("go run ./cmd/varve-sim replay %s.json, the run's file", r.Options.Name())
	}
	return r.Options.Command()
}

// Command is what runs the options again, as they were drawn.
func (o Options) Command() string {
	command := fmt.Sprintf("go run ./cmd/varve-sim run --seed %d --profile %s", o.Seed, o.Profile)
	if len(o.Off) > 0 {
		command += " --without " + strings.Join(o.Off, ",")
	}
	return command
}

// Report prints a failed run: what is wrong, seed, commit and options, and the command
// that replays it.
func (r *Result) Report() string {
	return fmt.Sprintf("seed %d of profile %s failed after %v of virtual time and %d events, trace %016x, commit %s\n%s\noptions: %vreplay: %s\n",
		r.Options.Seed, r.Options.Profile, r.Virtual, r.Events, r.Hash, Commit(), r.Failure(), r.Options, r.Command())
}
