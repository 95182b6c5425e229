package control

import (
	"fmt"
	"time"

	"github.com/varvedb/varve/lsm"
)

// Window is how much history of each branch stays readable: that of so long, and that of
// so much log, whichever is more. What is zero is not set.
type Window struct {
	Seconds int64 `json:"seconds"` // negative: all of it, for ever
	Bytes   int64 `json:"bytes"`
}

// WindowForever is the Seconds of a window that keeps all.
const WindowForever = -1

// defaultWindow is what a new directory has.
var defaultWindow = Window{Seconds: 7 * 24 * 60 * 60, Bytes: 64 << 20}

// over is w, and what w does not set as older has it.
func (w Window) over(older Window) Window {
	if w.Seconds == 0 {
		w.Seconds = older.Seconds
	}
	if w.Bytes == 0 {
		w.Bytes = older.Bytes
	}
	return w
}

// Tune makes the window that of a store.
func (w Window) Tune(opts *lsm.Options) {
	opts.HistoryTime, opts.HistoryBytes = time.Duration(w.Seconds)*time.Second, w.Bytes
	if w.Seconds < 0 {
		opts.HistoryTime, opts.HistoryBytes = 0, -1
	}
}

// args are the flags that a pageserver is told it with.
func (w Window) args() []string {
	return []string{fmt.Sprintf("--history-seconds=%d", w.Seconds), fmt.Sprintf("--history-bytes=%d", w.Bytes)}
}
