package pgdata

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/varvedb/varve/pageserver/datadir"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

const (
	// bootstrapRole is the oid of the role that initdb makes, whatever its name.
	bootstrapRole = 10
	// authID is the oid of pg_authid, whose file pg_filenode.map names.
	authID = 1260

	// rolesMax bounds the roles that are of interest.
	rolesMax = 16

	// Of a heap page (bufpage.h, itemid.h).
	pageHeaderSize = 24
	itemSize       = 4
	itemNormal     = 1

	// Of a heap tuple's header (htup_details.h).
	tupleHeaderSize = 23
	xmaxInvalid     = 0x0800

	// Of a row of pg_authid: oid, rolname, seven flags.
	nameSize    = 64
	flagsAt     = 4 + nameSize
	authRowSize = flagsAt + 7
)

// role is a version of a row of pg_authid: one that is, was, or was never to be.
type role struct {
	oid       uint32
	name      string
	superuser bool
	canStream bool // may log in, and ask for the log
	replaced  bool // another version may have taken its place
}

// StreamRoles returns the names of the roles that may log in to the PostgreSQL of a
// directory and stream its log, those to try first in front. Which versions of a row
// count is for PostgreSQL to say, so some of them may be refused.
func StreamRoles(dir string) ([]string, error) {
	roles, err := readRoles(dir)
	if err != nil {
		return nil, fmt.Errorf("read the roles of %s: %w", dir, err)
	}
	roles = slices.DeleteFunc(roles, func(r role) bool { return !r.canStream })
	slices.SortFunc(roles, func(a, b role) int {
		return cmp.Or(order(!a.replaced, !b.replaced), order(a.superuser, b.superuser),
			order(a.name == "postgres", b.name == "postgres"), order(a.oid == bootstrapRole, b.oid == bootstrapRole), cmp.Compare(a.oid, b.oid))
	})
	var names []string
	for _, r := range roles {
		if len(names) < rolesMax && !slices.Contains(names, r.name) {
			names = append(names, r.name)
		}
	}
	return names, nil
}

// order puts what is before what is not.
func order(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

func readRoles(dir string) (roles []role, err error) {
	path, err := authFile(dir)
	if err != nil {
		return nil, err
	}
	body, err := os.ReadFile(filepath.Join(dir, path))
	if err != nil {
		return nil, err
	}
	for at := 0; at+pgwal.PageSize <= len(body); at += pgwal.PageSize {
		roles = append(roles, rolesOf(body[at:][:pgwal.PageSize])...)
	}
	return roles, nil
}

// authFile finds the file of pg_authid in the map of the shared relations.
func authFile(dir string) (string, error) {
	const path = "global/pg_filenode.map"
	body, err := os.ReadFile(filepath.Join(dir, path))
	if err != nil {
		return "", err
	}
	mappings, err := datadir.ParseRelMap(path, body)
	if err != nil {
		return "", err
	}
	for _, m := range mappings {
		if m.OID == authID {
			return fmt.Sprintf("global/%d", m.File), nil
		}
	}
	return "", wal.Corruptf(path, 0, "entry of pg_authid", "one", "none")
}

// rolesOf reads the rows of a page of pg_authid.
func rolesOf(page []byte) (roles []role) {
	lower := min(int(binary.LittleEndian.Uint16(page[12:])), len(page))
	for at := pageHeaderSize; at+itemSize <= lower; at += itemSize {
		item := binary.LittleEndian.Uint32(page[at:])
		offset, flags, size := int(item&0x7fff), item>>15&3, int(item>>17)
		if flags != itemNormal || offset+size > len(page) || size < tupleHeaderSize {
			continue
		}
		tuple := page[offset:][:size]
		row := tuple[min(int(tuple[22]), size):]
		if len(row) < authRowSize {
			continue
		}
		name, _, _ := bytes.Cut(row[4:flagsAt], []byte{0})
		flag := func(n int) bool { return row[flagsAt+n] != 0 }
		roles = append(roles, role{
			oid: binary.LittleEndian.Uint32(row), name: string(name), superuser: flag(0),
			canStream: flag(4) && (flag(0) || flag(5)), // rolcanlogin, rolsuper, rolreplication
			replaced:  binary.LittleEndian.Uint32(tuple[4:]) != 0 && binary.LittleEndian.Uint16(tuple[20:])&xmaxInvalid == 0,
		})
	}
	return roles
}
