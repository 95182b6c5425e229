package pgdata

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/varvedb/varve/pageserver/pgcontrol"
)

// Mode says what a PostgreSQL may do.
type Mode uint8

// The modes.
const (
	ReadWrite Mode = iota // its log goes to the quorum
	ReadOnly              // a standby without a primary: it stays at its start LSN and refuses writes
)

// Setting is one setting of PostgreSQL.
type Setting struct{ Name, Value string }

// Floors are the settings that the control file remembers. A standby refuses to
// start below them, and a primary below max_prepared_transactions may not be able to
// hold the transactions that are prepared.
type Floors struct {
	MaxConnections          int32
	MaxWorkerProcesses      int32
	MaxWALSenders           int32
	MaxPreparedTransactions int32
	MaxLocksPerTransaction  int32
	TrackCommitTimestamp    bool
}

// FloorsOf takes them from a control file.
func FloorsOf(control *pgcontrol.File) Floors {
	return Floors{
		MaxConnections:          control.MaxConnections,
		MaxWorkerProcesses:      control.MaxWorkerProcesses,
		MaxWALSenders:           control.MaxWALSenders,
		MaxPreparedTransactions: control.MaxPreparedXacts,
		MaxLocksPerTransaction:  control.MaxLocksPerXact,
		TrackCommitTimestamp:    control.TrackCommitTimestamp,
	}
}

// Settings is what differs from one PostgreSQL to the next.
type Settings struct {
	Mode          Mode
	Port          int    // of TCP, and in the socket's name
	SocketDir     string // absolute
	ListenAddress string // of TCP; empty: unix socket only
	Floors        Floors
}

// LogLinePrefix begins each message in PostgreSQL's log; further lines of the same
// message begin with a tab, so text of a user's cannot look like a message. It is
// followed by the severity.
const LogLinePrefix = "%m [%p] "

// everywhere is imposed in both modes.
var everywhere = []Setting{
	// Local files are never recovered from: neither their order nor their torn
	// pages can matter.
	{"fsync", "off"},
	{"full_page_writes", "off"},
	{"restart_after_crash", "off"},
	// Hint bits and VM bits move a page's LSN, so a page is never newer than its LSN says.
	{"wal_log_hints", "on"},
	{"wal_level", "replica"},
	{"archive_mode", "off"},
	// The one synchronous standby is the source of the log (package pgsource). In a
	// read-only start nothing answers to the name, so that nothing is ever committed.
	{"synchronous_commit", "on"},
	{"synchronous_standby_names", "FIRST 1 (varve)"},
	{"wal_compression", "off"},
	// PostgreSQL takes a resource manager from a library only while it preloads one, and
	// records of such a manager are beyond redo: it refuses the library by name.
	{"shared_preload_libraries", ""},
	// Readiness and promotion are read from the log.
	{"log_destination", "stderr"},
	{"logging_collector", "off"},
	{"log_line_prefix", LogLinePrefix},
	{"log_min_messages", "warning"},
	{"lc_messages", "C"},
}

// Imposed are the settings for the command line. The storage relies on them.
func (s Settings) Imposed() []Setting {
	imposed := append([]Setting{}, everywhere...)
	imposed = append(imposed,
		Setting{"listen_addresses", s.ListenAddress},
		Setting{"port", strconv.Itoa(s.Port)},
		Setting{"unix_socket_directories", quoteListItem(s.SocketDir)},
		// The slot keeps the log that the quorum does not have yet, whatever its size.
		Setting{"max_slot_wal_keep_size", "-1"},
	)
	if s.Mode == ReadOnly {
		imposed = append(imposed,
			Setting{"hot_standby", "on"},
			Setting{"primary_conninfo", ""},
			Setting{"restore_command", ""},
			Setting{"promote_trigger_file", ""},
		)
	}
	return imposed
}

// The least values of settings with a floor: PostgreSQL's own defaults, but for
// prepared transactions, which it forbids by default.
const (
	connectionsMin          = 100
	workerProcessesMin      = 8
	walSendersMin           = 10
	preparedTransactionsMin = 64
	locksPerTransactionMin  = 64
)

// Defaults are the settings for postgresql.conf, which users may change.
func (s Settings) Defaults() []Setting {
	f := s.Floors
	return []Setting{
		{"max_connections", atLeast(f.MaxConnections, connectionsMin)},
		{"max_worker_processes", atLeast(f.MaxWorkerProcesses, workerProcessesMin)},
		{"max_wal_senders", atLeast(f.MaxWALSenders, walSendersMin)},
		{"max_prepared_transactions", atLeast(f.MaxPreparedTransactions, preparedTransactionsMin)},
		{"max_locks_per_transaction", atLeast(f.MaxLocksPerTransaction, locksPerTransactionMin)},
		{"track_commit_timestamp", onOff(f.TrackCommitTimestamp)},
		// No image is needed: redo knows all resource managers of PostgreSQL. With all, for
		// debugging, each record brings images that redo can be checked against.
		{"wal_consistency_checking", ""},
		{"shared_buffers", "128MB"},
		{"dynamic_shared_memory_type", "posix"},
	}
}

func atLeast(value int32, floor int32) string { return strconv.Itoa(int(max(value, floor))) }

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// Args renders the imposed settings as arguments of the program postgres.
func (s Settings) Args() []string {
	var args []string
	for _, setting := range s.Imposed() {
		args = append(args, "-c", setting.Name+"="+setting.Value)
	}
	return args
}

// Conf renders postgresql.conf.
func (s Settings) Conf() []byte {
	var text strings.Builder
	text.WriteString("# Made anew at every start. These are also on the command line, which wins over\n" +
		"# this file and over ALTER SYSTEM: the storage relies on them.\n")
	writeSettings(&text, s.Imposed())
	text.WriteString("\n# These may be changed, for the life of this directory.\n")
	writeSettings(&text, s.Defaults())
	return []byte(text.String())
}

func writeSettings(text *strings.Builder, settings []Setting) {
	for _, setting := range settings {
		fmt.Fprintf(text, "%s = %s\n", setting.Name, quoteValue(setting.Value))
	}
}

// quoteValue quotes a value as postgresql.conf wants it. A backslash begins an
// escape there.
func quoteValue(value string) string {
	return "'" + strings.NewReplacer(`'`, `''`, `\`, `\\`, "\n", `\n`).Replace(value) + "'"
}

// quoteListItem quotes an item of a list of directories, where a comma or a space
// would otherwise end it.
func quoteListItem(item string) string {
	return `"` + strings.ReplaceAll(item, `"`, `""`) + `"`
}

// HBA renders pg_hba.conf. Who may reach the socket's directory, or this machine's
// loopback if TCP is on, is trusted, as in a directory made by initdb; others need a
// password.
func (s Settings) HBA() []byte {
	return []byte(`# TYPE  DATABASE     USER  ADDRESS       METHOD
local   all          all                 trust
local   replication  all                 trust
host    all          all   127.0.0.1/32  trust
host    all          all   ::1/128       trust
host    all          all   all           scram-sha-256
`)
}
