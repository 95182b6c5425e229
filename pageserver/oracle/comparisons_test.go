package oracle_test

import (
	"bufio"
	"encoding/gob"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/pageserver/oracle"
)

// recorder keeps comparisons of every kind of record in files, so that redo with a bug in it
// can be tried on those of one kind without replaying the log.
type recorder struct {
	dir   string
	first int // of each kind, load after load, so many are kept; then one of ever more
	files map[oracle.Kind]*recording
}

// recording is the file of a kind.
type recording struct {
	file *os.File
	to   *bufio.Writer
	enc  *gob.Encoder
	seen int // in this load
}

func newRecorder(dir string, first int) *recorder {
	return &recorder{dir: dir, first: first, files: map[oracle.Kind]*recording{}}
}

// path is where the comparisons of a kind are.
func (r *recorder) path(k oracle.Kind) string {
	return filepath.Join(r.dir, strings.ReplaceAll(k.String(), "/", "."))
}

// load begins the next load.
func (r *recorder) load() {
	for _, f := range r.files {
		f.seen = 0
	}
}

// made takes a comparison.
func (r *recorder) made(t testing.TB, c *oracle.Comparison) {
	f := r.files[c.Kind]
	if f == nil {
		file, err := os.Create(r.path(c.Kind))
		require.NoError(t, err)
		f = &recording{file: file, to: bufio.NewWriter(file)}
		f.enc = gob.NewEncoder(f.to)
		r.files[c.Kind] = f
	}
	if f.seen++; f.seen <= r.first || f.seen%(f.seen/r.first+1) == 0 {
		require.NoError(t, f.enc.Encode(c))
	}
}

// close ends all files.
func (r *recorder) close(t testing.TB) {
	for _, f := range r.files {
		require.NoError(t, f.to.Flush())
		require.NoError(t, f.file.Close())
	}
}
