package endpoint

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/proposer"
	"github.com/varvedb/varve/wal/quorum"
)

const (
	// DefaultPort is used where the configuration names none.
	DefaultPort = 5432

	// socketPathMax is what a unix socket's address can hold, without its final zero.
	socketPathMax = 107
)

// ErrInUse is matched by the error of an endpoint whose directory, port or socket
// another one has.
var ErrInUse = errors.New("in use")

// ErrPromoted is the error of a read-only endpoint that a user made a primary.
var ErrPromoted = errors.New("a read-only PostgreSQL was promoted: what is written to it is not stored")

// ErrAbandoned, as the cause of the end of Run's context, says that the storage goes
// away as well: an orderly stop, which needs it, would wait for nothing.
var ErrAbandoned = errors.New("the endpoint was abandoned")

// Config says which PostgreSQL to run.
type Config struct {
	Name     string          // in messages
	Dir      string          // of the endpoint; absolute. User postgres must be able to enter it
	Identity quorum.Identity // of the timeline's log
	At       wal.LSN         // 0: read-write at the head; else read-only at this LSN

	Pageserver  string     // address
	Proposer    wal.NodeID // who we are to the safekeepers
	Safekeepers []proposer.Safekeeper

	PGBin         string // directory of PostgreSQL's programs; empty: found
	Port          int    // 0: DefaultPort
	SocketDir     string // absolute; empty: Dir/socket
	ListenAddress string // of TCP; empty: unix socket only

	Logger *slog.Logger // nil: none

	// Bounds that only tests change.
	majorityTimeout, stallTimeout, stopTimeout, quietTime time.Duration
}

// withDefaults fills in what is empty.
func (c Config) withDefaults() Config {
	if c.Port == 0 {
		c.Port = DefaultPort
	}
	if c.SocketDir == "" {
		c.SocketDir = filepath.Join(c.Dir, "socket")
	}
	c.majorityTimeout = cmp.Or(c.majorityTimeout, majorityTimeout)
	c.stallTimeout = cmp.Or(c.stallTimeout, stallTimeout)
	c.stopTimeout = cmp.Or(c.stopTimeout, stopTimeout)
	c.quietTime = cmp.Or(c.quietTime, quietTime)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// validate returns all that is wrong.
func (c Config) validate() error {
	var problems []error
	for _, path := range []string{c.Dir, c.SocketDir} {
		if !filepath.IsAbs(path) {
			problems = append(problems, fmt.Errorf("directory %q: want an absolute path", path))
		}
	}
	if c.Port < 1 || c.Port > 65535 {
		problems = append(problems, fmt.Errorf("port %d: want 1 to 65535", c.Port))
	}
	if path := c.socketPath(); len(path) > socketPathMax {
		problems = append(problems, fmt.Errorf("socket %s: its path has %d bytes, and may have %d: choose a shorter directory", path, len(path), socketPathMax))
	}
	if c.At == 0 && len(c.Safekeepers) == 0 {
		problems = append(problems, errors.New("no safekeepers: a read-write endpoint needs them"))
	}
	return errors.Join(problems...)
}

func (c Config) safekeeperAddrs() (addrs []string) {
	for _, s := range c.Safekeepers {
		addrs = append(addrs, s.Addr)
	}
	return addrs
}

func (c Config) dataDir() string { return dataDir(c.Dir) }

// dataDir is PostgreSQL's directory in that of an endpoint.
func dataDir(dir string) string { return filepath.Join(dir, "data") }

func (c Config) logPath() string { return filepath.Join(c.Dir, "postgres.log") }

func (c Config) socketPath() string {
	return filepath.Join(c.SocketDir, fmt.Sprintf(".s.PGSQL.%d", c.Port))
}

// connString leads a user to this PostgreSQL over its unix socket.
func (c Config) connString(user string) string {
	quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(user)
	return fmt.Sprintf("host='%s' port=%d user='%s' dbname=postgres", c.SocketDir, c.Port, quoted)
}

// checkFree tells whether someone else has the port or the socket, which PostgreSQL
// would find out only after a term was won.
func (c Config) checkFree() error {
	if conn, err := net.Dial("unix", c.socketPath()); err == nil {
		// Nothing was said on it.
		_ = conn.Close()
		return fmt.Errorf("socket %s is %w by another PostgreSQL: choose another port or stop that one", c.socketPath(), ErrInUse)
	}
	if c.ListenAddress == "" {
		return nil
	}
	address := net.JoinHostPort(c.ListenAddress, strconv.Itoa(c.Port))
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("%s is %w or not an address of this machine: choose another port: %w", address, ErrInUse, err)
	}
	return listener.Close()
}

// makeDirs makes what the life needs besides the data directory. A socket directory
// that is there may be shared, and is left as it is.
func (l *life) makeDirs() error {
	if err := os.MkdirAll(l.cfg.Dir, 0o755); err != nil {
		return fmt.Errorf("make endpoint directory: %w", err)
	}
	if _, err := os.Stat(l.cfg.SocketDir); err == nil {
		return nil
	}
	if err := l.account.MakeDir(l.cfg.SocketDir, 0o755); err != nil {
		return fmt.Errorf("make socket directory: %w", err)
	}
	return nil
}
