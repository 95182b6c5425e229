package endpoint

import (
	"bufio"
	"errors"
	"io"
	"regexp"
	"strings"
	"sync"
)

const (
	// logLineMax bounds what is looked at of one line; the file gets all of it.
	logLineMax = 64 << 10
	// complaintsMax bounds what is kept for an error message: a FATAL with its DETAIL
	// and HINT, and what led to it.
	complaintsMax = 4
)

// serverLog copies PostgreSQL's log to a file and watches it for events.
type serverLog struct {
	file     io.Writer
	ready    chan struct{} // closed when PostgreSQL accepts connections
	promoted chan struct{} // closed when someone asks a standby to become a primary

	mu         sync.Mutex
	complaints []string
}

func newServerLog(file io.Writer) *serverLog {
	return &serverLog{file: file, ready: make(chan struct{}), promoted: make(chan struct{})}
}

// messageLine matches the first line of a message: the prefix that package pgdata
// imposes, the severity, the text. No user's text can look so, for further lines of
// a message begin with a tab.
var messageLine = regexp.MustCompile(`^[-0-9]+ [:.0-9]+ \w+ \[\d+\] ([A-Z]+):  (.*)$`)

// follow copies until the log ends, which is when no process holds it any more.
func (l *serverLog) follow(from io.Reader) {
	lines := bufio.NewReaderSize(from, logLineMax)
	begins := true
	for {
		part, err := lines.ReadSlice('\n')
		// A log that cannot be written must not stop the server.
		_, _ = l.file.Write(part)
		if begins {
			l.look(strings.TrimRight(string(part), "\n"))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
		begins = err == nil
	}
}

func (l *serverLog) look(line string) {
	match := messageLine.FindStringSubmatch(line)
	if match == nil {
		// Before it has read its settings PostgreSQL writes without a prefix.
		if strings.HasPrefix(line, "postgres: ") || strings.HasPrefix(line, "FATAL: ") || strings.HasPrefix(line, "HINT: ") {
			l.complain(line)
		}
		return
	}
	severity, text := match[1], match[2]
	switch severity {
	case "LOG":
		l.event(text)
	case "FATAL", "PANIC", "DETAIL", "HINT":
		l.complain(severity + ": " + text)
	}
}

func (l *serverLog) event(text string) {
	switch text {
	case "database system is ready to accept connections", "database system is ready to accept read-only connections":
		closeOnce(l.ready)
	case "received promote request":
		closeOnce(l.promoted)
	}
}

// closeOnce is called by the following task only.
func closeOnce(event chan struct{}) {
	select {
	case <-event:
	default:
		close(event)
	}
}

func (l *serverLog) complain(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.complaints) == complaintsMax {
		l.complaints = l.complaints[1:]
	}
	l.complaints = append(l.complaints, text)
}

func (l *serverLog) lastWords() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.complaints, "; ")
}
