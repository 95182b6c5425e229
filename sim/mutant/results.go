package mutant

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// result is a line of the file of results. A trial is a function of its key, but for
// the processor time.
type result struct {
	Key   string
	Trial Trial // without its mutant
}

// key is the digest of all that a trial depends on: the program, what the mutant says
// beside its edits, and the bench; but for the budget of processor time.
func (b *Bench) key(m *Mutant, program string) (string, error) {
	if b.Results == "" {
		return "", nil
	}
	body, err := os.ReadFile(program)
	if err != nil {
		return "", err
	}
	of := fmt.Appendf(body, "%v %v %v %d, %d %d %d %v", m.Name, m.Needs, m.Profile, m.Seeds, b.First, b.Seeds, b.ControlMin, b.Off)
	return fmt.Sprintf("%x", sha256.Sum256(of)), nil
}

// known returns a trial that was made before, or nil. One that survived must have had
// as large a budget. A line that is cut off, as by a full disk, counts for nothing.
func (b *Bench) known(key string, m *Mutant) *Trial {
	if b.Results == "" {
		return nil
	}
	file, err := os.Open(b.Results)
	if err != nil {
		return nil
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var r result
		if json.Unmarshal(lines.Bytes(), &r) == nil && r.Key == key && (r.Trial.Killed || r.Trial.CPU >= b.CPU) {
			r.Trial.Mutant = m
			return &r.Trial
		}
	}
	return nil
}

// keep adds a trial to the file of results.
func (b *Bench) keep(key string, t *Trial) (err error) {
	if b.Results == "" {
		return nil
	}
	file, err := os.OpenFile(b.Results, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	r := result{Key: key, Trial: *t}
	r.Trial.Mutant = nil
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = file.Write(append(line, '\n'))
	return err
}
