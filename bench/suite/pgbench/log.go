package pgbench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ended is a transaction: when it ended, how long it took from the moment at which it was
// meant to begin, and how much of that it waited for a client to be free.
type ended struct {
	at   time.Time
	took time.Duration
	late time.Duration
	rate bool // it was meant to begin at a time of its own: pgbench had a rate
}

// readLogs reads the logs that pgbench has written, one for each of its threads.
func readLogs(prefix string) (all []ended, err error) {
	names, err := filepath.Glob(prefix + "*")
	if err != nil {
		return nil, fmt.Errorf("find pgbench's log: %w", err)
	}
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("read pgbench's log: %w", err)
		}
		some, err := parseLog(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("read pgbench's log: %w", err)
		}
		all = append(all, some...)
	}
	if len(all) == 0 {
		return nil, errors.New("pgbench has logged no transactions")
	}
	return all, nil
}

// The fields of a line, the last only where there is a rate. The time of a transaction
// counts from when it was scheduled, and so has its lag in it.
const (
	fieldTook   = 2 // microseconds
	fieldSecond = 4 // of its end
	fieldMicro  = 5
	fieldLag    = 6 // microseconds from its schedule to its begin
)

func parseLog(r io.Reader) (all []ended, err error) {
	for lines := bufio.NewScanner(r); ; {
		if !lines.Scan() {
			return all, lines.Err()
		}
		fields := strings.Fields(lines.Text())
		if len(fields) != fieldLag && len(fields) != fieldLag+1 {
			return nil, fmt.Errorf("%q: %d fields", lines.Text(), len(fields))
		}
		numbers := make([]int64, len(fields))
		for i, field := range fields {
			if numbers[i], err = strconv.ParseInt(field, 10, 64); err != nil {
				return nil, fmt.Errorf("%q: %w", lines.Text(), err)
			}
		}
		e := ended{at: time.Unix(numbers[fieldSecond], numbers[fieldMicro]*1000), took: time.Duration(numbers[fieldTook]) * time.Microsecond}
		if e.rate = len(fields) > fieldLag; e.rate {
			e.late = time.Duration(numbers[fieldLag]) * time.Microsecond
		}
		if e.late > e.took {
			return nil, fmt.Errorf("%q: a lag longer than the transaction, which begins with it", lines.Text())
		}
		all = append(all, e)
	}
}
