package proposer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env/osenv"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
	"github.com/varvedb/varve/wal/proposer"
	"github.com/varvedb/varve/wal/safekeeper"
	"github.com/varvedb/varve/wal/segment"
)

// TestMain turns the test binary into a safekeeper when it is started as one.
func TestMain(m *testing.M) {
	if os.Getenv("VARVE_TEST_SAFEKEEPER") == "" {
		os.Exit(m.Run())
	}
	fmt.Println(runSafekeeper())
	os.Exit(1)
}

func runSafekeeper() error {
	id, err := strconv.Atoi(os.Getenv("VARVE_TEST_SAFEKEEPER"))
	if err != nil {
		return err
	}
	e, err := osenv.New(osenv.Config{Root: os.Getenv("VARVE_TEST_DIR"), Bucket: os.Getenv("VARVE_TEST_DIR") + "/bucket"})
	if err != nil {
		return err
	}
	s := safekeeper.New(e, safekeeper.Config{ID: wal.NodeID(id), Dir: "sk", Listen: os.Getenv("VARVE_TEST_LISTEN")})
	group := e.Tasks.NewGroup(context.Background())
	group.Go("safekeeper", s.Run)
	if _, err := s.Ready(context.Background()); err != nil {
		return err
	}
	fmt.Println("ready")
	return group.Wait()
}

// launch starts a node as a process of its own.
func (n *node) launch() {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprint("VARVE_TEST_SAFEKEEPER=", n.id),
		"VARVE_TEST_DIR="+n.root(), "VARVE_TEST_LISTEN="+n.addr)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	require.NoError(n.c.t, err)
	require.NoError(n.c.t, cmd.Start())
	n.process = cmd
	line := make([]byte, 6)
	_, err = out.Read(line)
	require.NoError(n.c.t, err)
	require.Equal(n.c.t, "ready\n", string(line))
}

// kill ends the process as a crash would.
func (n *node) kill() {
	require.NoError(n.c.t, n.process.Process.Kill())
	n.process.Wait()
	n.process = nil
}

func (n *node) root() string { return filepath.Join(n.c.dir, fmt.Sprint(n.id)) }

// newProcesses is a cluster whose safekeepers are processes.
func newProcesses(t testing.TB) *cluster {
	c := &cluster{t: t, dir: t.TempDir()}
	c.e = newEnv(t, filepath.Join(c.dir, "client"))
	for id := wal.NodeID(1); id <= 3; id++ {
		n := &node{c: c, id: id, addr: fmt.Sprintf("unix:%s/%d.sock", c.dir, id)}
		c.nodes = append(c.nodes, n)
		n.launch()
	}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			if n.process != nil {
				n.kill()
			}
		}
	})
	return c
}

// Two proposers fight over one timeline while safekeepers are killed and restarted:
// every refusal names the higher term, whatever was acknowledged is in the end in
// all three logs, and these are equal.
func TestTwoProposersAndKilledSafekeepers(t *testing.T) {
	const rounds, seed = 60, 7
	random := rand.New(rand.NewPCG(seed, 0))
	c := newProcesses(t)
	c.create()
	acknowledged := map[wal.LSN]bool{start: true}
	var writers []*writer
	var refused []error
	for round := range rounds {
		for i := len(writers); i < 2; i++ {
			writers = append(writers, c.propose(wal.NodeID(100+2*round+i)))
		}
		victim := c.nodes[random.IntN(3)]
		if random.IntN(3) == 0 {
			victim.kill()
		}
		w := writers[random.IntN(2)]
		end, err := w.try(random.IntN(30_000))
		switch {
		case err == nil:
			acknowledged[end] = true
		case errors.Is(err, proposer.ErrFenced):
			refused = append(refused, err)
			require.ErrorIs(t, w.stop(), proposer.ErrFenced)
			writers = remove(writers, w)
		default:
			require.NoError(t, err)
		}
		if victim.process == nil {
			victim.launch()
		}
	}
	require.NotEmpty(t, refused)
	for _, err := range refused {
		t.Logf("refused: %v", err)
	}
	last := c.propose(1000)
	end := last.commit(10)
	var digests []string
	for _, n := range c.nodes {
		log := n.follow(end)
		digests = append(digests, fmt.Sprintf("%x", sha256.Sum256(log)))
		require.Equal(t, len(acknowledged), countEnds(t, log, acknowledged), "safekeeper %d", n.id)
		t.Logf("safekeeper %d: log up to %v, sha256 %s", n.id, end, digests[len(digests)-1])
	}
	require.Equal(t, digests[0], digests[1])
	require.Equal(t, digests[0], digests[2])
}

// try appends a record and waits for its commit.
func (w *writer) try(n int) (end wal.LSN, err error) {
	_, end = w.log.Append(message(n, byte(w.term)))
	p := w.log.Take()
	if err := w.Append(w.c.t.Context(), w.at, p); err != nil {
		return 0, err
	}
	w.at += wal.LSN(len(p))
	return end, w.WaitCommit(w.c.t.Context(), end)
}

func remove(writers []*writer, gone *writer) (rest []*writer) {
	for _, w := range writers {
		if w != gone {
			rest = append(rest, w)
		}
	}
	return rest
}

// countEnds counts the record ends of a log that are in a set.
func countEnds(t testing.TB, log []byte, ends map[wal.LSN]bool) (count int) {
	decoder := pgwal.NewDecoder("log", start)
	decoder.Feed(log)
	if ends[start] {
		count++
	}
	var rec pgwal.Record
	for {
		more, err := decoder.Next(&rec)
		require.NoError(t, err)
		if !more {
			return count
		}
		if ends[rec.End] {
			count++
		}
	}
}

func TestPgWaldumpReadsASafekeepersSegments(t *testing.T) {
	pg := pgtest.Init(t, pgtest.Options{})
	c := newCluster(t)
	c.create()
	w := c.propose(100)
	var ends []wal.LSN
	for i := range 40 {
		ends = append(ends, w.write(i*i*900)) // into the next segment
	}
	last := ends[len(ends)-1]
	require.Greater(t, last.Segment(), start.Segment())
	require.NoError(t, w.WaitCommit(t.Context(), last))
	require.NoError(t, w.stop())
	c.nodes[0].down()

	dir := copySegments(t, pg, c.nodes[0])
	lines := dumpLines(pg.Exec(t, "pg_waldump", "-p", dir, "-s", start.String(), "-e", last.String()))
	require.Len(t, lines, len(ends))
	first := fmt.Sprintf("lsn: %X/%08X", uint64(start)>>32, uint32(start)) // as it pads it
	require.Contains(t, lines[0], first)

	// Without a position it begins at the first segment, and finds the log's start.
	whole := pg.Command("pg_waldump", filepath.Join(dir, segment.Name(start.Segment())))
	var out bytes.Buffer
	whole.Stdout, whole.Stderr = &out, &out
	_ = whole.Run() // it complains at the end of any segment whose last record goes on
	require.Contains(t, dumpLines(out.String())[0], first)
}

// copySegments copies a stopped node's segments to where PostgreSQL may read them.
func copySegments(t testing.TB, pg *pgtest.Server, n *node) string {
	dir := pg.MkdirAll(t, "segments")
	from := filepath.Join(n.root(), "sk/timelines", identity().Timeline.String(), "wal")
	entries, err := os.ReadDir(from)
	require.NoError(t, err)
	for _, entry := range entries {
		if _, ok := segment.ParseName(entry.Name()); !ok {
			continue
		}
		content, err := os.ReadFile(filepath.Join(from, entry.Name()))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, entry.Name()), content, 0o644))
	}
	return dir
}

// dumpLines returns the lines of pg_waldump that are records.
func dumpLines(out string) (lines []string) {
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "rmgr:") {
			lines = append(lines, line)
		}
	}
	return lines
}
