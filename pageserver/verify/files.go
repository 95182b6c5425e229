package verify

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/varvedb/varve/pageserver/datadir"
	"github.com/varvedb/varve/pageserver/pgcontrol"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

const controlPath = "global/pg_control"

// files compares everything that is not a relation.
func (v *verifier) files() error {
	state, err := v.storage.Files(v.ctx)
	if err != nil {
		return err
	}
	stored := map[string][]byte{}
	for _, f := range state {
		if !f.Mode.IsDir() {
			stored[f.Path] = f.Body
		}
	}
	if err := v.wholeFiles(stored); err != nil {
		return err
	}
	checkpoint, err := v.control(stored[controlPath])
	if err != nil {
		return err
	}
	return v.facts(stored, checkpoint)
}

// wholeFiles compares the files that must be equal byte for byte: those of databases,
// and prepared transactions.
func (v *verifier) wholeFiles(stored map[string][]byte) error {
	paths := []string{"PG_VERSION"}
	tree, err := datadir.Scan(v.fsys)
	if err != nil {
		return err
	}
	for _, other := range tree.Others {
		if other.Reason == datadir.Known && other.Path != controlPath {
			paths = append(paths, other.Path)
		}
	}
	// A name that is no transaction's is compared like the others, and found missing
	// in the storage.
	prepared, err := fs.ReadDir(v.fsys, "pg_twophase")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, entry := range prepared {
		paths = append(paths, "pg_twophase/"+entry.Name())
	}
	//varve:unordered paths are sorted below
	for path := range stored {
		if isWhole(path) {
			paths = append(paths, path)
		}
	}
	slices.SortFunc(paths, cmp.Compare[string])
	for _, path := range slices.Compact(paths) {
		if err := v.wholeFile(path, stored); err != nil {
			return err
		}
	}
	return nil
}

func isWhole(path string) bool {
	return strings.HasSuffix(path, "PG_VERSION") || strings.HasSuffix(path, "/pg_filenode.map") || strings.HasPrefix(path, "pg_twophase/")
}

func (v *verifier) wholeFile(path string, stored map[string][]byte) error {
	want, isStored := stored[path]
	disk, err := fs.ReadFile(v.fsys, path)
	isOnDisk := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	v.report.Files++
	if isStored != isOnDisk {
		presence := map[bool]string{true: "there", false: "missing"}
		v.report.mismatch(Mismatch{File: path, Block: -1, Offset: -1, What: "file", Stored: presence[isStored], Disk: presence[isOnDisk]})
		return nil
	}
	if !bytes.Equal(want, disk) {
		v.report.mismatch(bytesMismatch(path, want, disk))
	}
	return nil
}

func bytesMismatch(path string, stored, disk []byte) Mismatch {
	m := Mismatch{File: path, Block: -1, What: "content"}
	if len(stored) != len(disk) {
		m.Offset, m.Stored, m.Disk = -1, fmt.Sprint(len(stored), " bytes"), fmt.Sprint(len(disk), " bytes")
		return m
	}
	at := 0
	for stored[at] == disk[at] {
		at++
	}
	m.Offset, m.Stored, m.Disk = int64(at), fmt.Sprintf("0x%02x", stored[at]), fmt.Sprintf("0x%02x", disk[at])
	return m
}

// control compares what the last checkpoint took stock of, and returns the one on
// disk; or, if the file there is damaged, the stored one, so that the live ranges are
// known.
func (v *verifier) control(image []byte) (*pgwal.CheckPoint, error) {
	stored, err := pgcontrol.Decode("stored pg_control", image)
	if err != nil {
		return nil, err
	}
	onDisk, err := fs.ReadFile(v.fsys, controlPath)
	if err != nil {
		return nil, err
	}
	v.report.Files++
	disk, err := pgcontrol.Decode(controlPath, onDisk)
	var damage *wal.CorruptionError
	if errors.As(err, &damage) {
		v.report.mismatch(Mismatch{File: controlPath, Block: -1, Offset: damage.Offset, What: damage.What, Stored: damage.Want, Disk: damage.Got})
		return &stored.CheckPointCopy, nil
	}
	if err != nil {
		return nil, err
	}
	if disk.State != pgcontrol.ShutDown {
		return nil, fmt.Errorf("data directory was not stopped cleanly (state %q)", disk.State)
	}
	v.controlFields(stored, disk)
	return &disk.CheckPointCopy, nil
}

func (v *verifier) controlFields(stored, disk *pgcontrol.File) {
	s, d := &stored.CheckPointCopy, &disk.CheckPointCopy
	for _, field := range []struct {
		name         string
		stored, disk uint64
	}{
		{"system identifier", stored.SystemID, disk.SystemID},
		{"nextXid", uint64(s.NextXID), uint64(d.NextXID)},
		{"nextOid", uint64(s.NextOID), uint64(d.NextOID)},
		{"nextMulti", uint64(s.NextMulti), uint64(d.NextMulti)},
		{"nextMultiOffset", uint64(s.NextMultiOffset), uint64(d.NextMultiOffset)},
		{"oldestXid", uint64(s.OldestXID), uint64(d.OldestXID)},
		{"oldestXidDB", uint64(s.OldestXIDDB), uint64(d.OldestXIDDB)},
		{"oldestMulti", uint64(s.OldestMulti), uint64(d.OldestMulti)},
		{"oldestMultiDB", uint64(s.OldestMultiDB), uint64(d.OldestMultiDB)},
		{"oldestCommitTsXid", uint64(s.OldestCommitTsXID), uint64(d.OldestCommitTsXID)},
		{"newestCommitTsXid", uint64(s.NewestCommitTsXID), uint64(d.NewestCommitTsXID)},
		{"max_prepared_transactions", uint64(stored.MaxPreparedXacts), uint64(disk.MaxPreparedXacts)},
		{"max_connections", uint64(stored.MaxConnections), uint64(disk.MaxConnections)},
		{"wal_level", uint64(stored.WALLevel), uint64(disk.WALLevel)},
	} {
		if field.stored != field.disk {
			v.report.mismatch(Mismatch{
				File: controlPath, Block: -1, Offset: -1, What: field.name,
				Stored: fmt.Sprint(field.stored), Disk: fmt.Sprint(field.disk),
			})
		}
	}
}
