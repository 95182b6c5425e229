package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/compute/control"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

func (a *app) inspectCommand() *cobra.Command {
	return group(&cobra.Command{Use: "inspect", Short: "Show what a file of Varve's holds"},
		a.inspectWALCommand(), a.inspectLayerCommand(), a.inspectIndexCommand(), a.inspectMapCommand())
}

func (a *app) inspectWALCommand() *cobra.Command {
	var start string
	cmd := &cobra.Command{
		Use:   "wal SEGMENT",
		Short: "Print the records of a log segment, a line each, in the manner of pg_waldump",
		Long: "Print the records of a log segment, a line each, in the manner of pg_waldump.\n" +
			"The segment that a branch's log begins in has no records before the branch's start: name it with --start.",
		Args: exactArgs("SEGMENT"),
		RunE: func(_ *cobra.Command, args []string) error { return a.inspectWAL(args[0], start) },
	}
	cmd.Flags().StringVar(&start, "start", "", "LSN of the first record (default: the first that begins in the segment)")
	return cmd
}

func (a *app) inspectWAL(path, start string) error {
	body, err := readFile(path, "log segments lie in DIR/safekeeper-N/timelines/TIMELINE/wal")
	if err != nil {
		return err
	}
	base, err := segmentStart(path)
	if err != nil {
		return err
	}
	if len(body) != wal.SegmentSize {
		return control.Errorf(control.CodeFailed, "%s has %d bytes, a log segment has %d: name a whole one", path, len(body), wal.SegmentSize)
	}
	first := base + wal.LSN(firstRecord(body))
	if start != "" {
		if first, err = wal.ParseLSN(start); err != nil {
			return control.Errorf(control.CodeUsage, "--start: %v", err)
		}
	}
	if first < base || first >= base+wal.SegmentSize {
		return control.Errorf(control.CodeNotFound, "%s holds %s to %s: no record begins at %s there", path, base, base+wal.SegmentSize, first)
	}
	err = eachRecord(path, first, body[first-base:], a.recordPrinter(bufio.NewWriter(os.Stdout)))
	var damage *wal.CorruptionError
	if errors.As(err, &damage) {
		// The decoder reads a log, whose offsets are LSNs; here it is a file.
		damage.Offset -= int64(base)
	}
	return err
}

// readFile reads a file that a user named; where says where such files are.
func readFile(path, where string) ([]byte, error) {
	body, err := os.ReadFile(path)
	switch {
	case errors.Is(err, syscall.EISDIR):
		return nil, control.Errorf(control.CodeUsage, "%s is a directory: name a file; %s", path, where)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return nil, control.Errorf(control.CodeNotFound, "there is no file %s: %s", path, where)
	case errors.Is(err, fs.ErrPermission):
		return nil, control.Errorf(control.CodeFailed, "%s may not be read: run this as its owner, or as root", path)
	}
	return body, err
}

// segmentStart reads the LSN of a segment's first byte out of its file name.
func segmentStart(path string) (wal.LSN, error) {
	name := filepath.Base(path)
	if len(name) == 24 {
		log, err1 := strconv.ParseUint(name[8:16], 16, 32)
		segment, err2 := strconv.ParseUint(name[16:], 16, 32)
		if err1 == nil && err2 == nil && segment < 1<<32/wal.SegmentSize {
			return wal.LSN(log<<32 + segment*wal.SegmentSize), nil
		}
	}
	return 0, control.Errorf(control.CodeUsage, "%s is not named like a log segment, such as 000000010000000000000001", path)
}

// firstRecord returns the offset of the first record that begins in a segment: it
// comes after the rest of the record that began in the segment before.
func firstRecord(segment []byte) int {
	const (
		continued   = 0x0001 // in a page header's info: the page begins inside a record
		infoAt      = 2
		restAt      = 16
		shortHeader = 24
		longHeader  = 40
	)
	offset := 0
	header := longHeader
	for offset+header <= len(segment) {
		page := segment[offset:]
		if binary.LittleEndian.Uint16(page[infoAt:])&continued == 0 {
			return offset + header
		}
		rest := int(binary.LittleEndian.Uint32(page[restAt:]))
		if rest <= pgwal.WALPageSize-header {
			return offset + header + (rest+7)&^7
		}
		offset += pgwal.WALPageSize
		header = shortHeader
	}
	return len(segment)
}
