package world

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/varvedb/varve/wal/env"
)

// Disk is a node's volume: what its files hold, and what they would hold after a
// loss of power.
type Disk struct {
	n       *Node
	dirs    map[string]*directory // by clean path; "." is the root
	journal []change              // of entries, not durable yet, in order
	changes uint64                // ever made
	spare   spares
	full    bool // no space to grow
}

// directory has entries as programs see them, and as they are on the disk.
type directory struct {
	entries, durable map[string]*inode
}

// change is one change of entries: a new file, a removed one (to is empty), or one
// renamed.
type change struct {
	node     *inode
	from, to string // clean paths; from is empty for a new file
	serial   uint64
}

func (c change) touches(dir string) bool {
	return c.from != "" && path.Dir(c.from) == dir || c.to != "" && path.Dir(c.to) == dir
}

func (c change) crosses() bool {
	return c.from != "" && c.to != "" && path.Dir(c.from) != path.Dir(c.to)
}

func newDisk(n *Node) *Disk {
	d := &Disk{n: n}
	d.wipe()
	return d
}

func newDirectory() *directory {
	return &directory{entries: map[string]*inode{}, durable: map[string]*inode{}}
}

func (d *Disk) wipe() {
	d.dirs = map[string]*directory{".": newDirectory()}
	d.journal = nil
}

func (d *Disk) lookup(name string) *inode {
	if dir := d.dirs[path.Dir(name)]; dir != nil {
		return dir.entries[path.Base(name)]
	}
	return nil
}

// ReadFile is a file's content as programs see it; false if there is none.
func (d *Disk) ReadFile(name string) ([]byte, bool) {
	i := d.lookup(path.Clean(name))
	if i == nil || i.dir {
		return nil, false
	}
	p := make([]byte, i.size)
	i.read(p, 0)
	return p, true
}

// Files is the sorted paths of all files.
func (d *Disk) Files() []string {
	var files []string
	for _, dir := range slices.Sorted(maps.Keys(d.dirs)) {
		for _, name := range slices.Sorted(maps.Keys(d.dirs[dir].entries)) {
			if !d.dirs[dir].entries[name].dir {
				files = append(files, path.Join(dir, name))
			}
		}
	}
	return files
}

// Flip flips a bit of a file, on the disk and in what programs see. It reports
// whether there is such a byte.
func (d *Disk) Flip(name string, off int64, bit uint) bool {
	i := d.lookup(path.Clean(name))
	if i == nil || i.dir || off < 0 || off >= i.size {
		return false
	}
	i.flip(off, bit)
	return true
}

// mkdirAll makes a directory and its parents, durably.
func (d *Disk) mkdirAll(dir string) error {
	if d.dirs[dir] != nil {
		return nil
	}
	parent := path.Dir(dir)
	if err := d.mkdirAll(parent); err != nil {
		return err
	}
	if d.lookup(dir) != nil {
		return fmt.Errorf("make directory %s: %w: a file", dir, env.ErrExist)
	}
	mark := &inode{dir: true}
	d.dirs[parent].entries[path.Base(dir)] = mark
	d.dirs[parent].durable[path.Base(dir)] = mark
	d.dirs[dir] = newDirectory()
	return nil
}

// do makes a change that programs see at once.
func (d *Disk) do(c change) {
	d.apply(c, func(dir *directory) map[string]*inode { return dir.entries })
	d.changes++
	c.serial = d.changes
	d.journal = append(d.journal, c)
}

func (d *Disk) apply(c change, of func(*directory) map[string]*inode) {
	if c.from != "" {
		delete(of(d.dirs[path.Dir(c.from)]), path.Base(c.from))
	}
	if c.to != "" {
		of(d.dirs[path.Dir(c.to)])[path.Base(c.to)] = c.node
	}
}

func onDisk(dir *directory) map[string]*inode { return dir.durable }

// syncDir makes the changes up to number last that touch a directory durable; where
// one of them crosses to another directory, all that came before it.
func (d *Disk) syncDir(dir string, last uint64) (changes int) {
	whole := uint64(0)
	for _, c := range d.journal {
		if c.crosses() && c.touches(dir) && c.serial <= last {
			whole = c.serial
		}
	}
	rest := d.journal[:0]
	for _, c := range d.journal {
		if c.serial <= whole || c.serial <= last && c.touches(dir) {
			d.apply(c, onDisk)
			changes++
		} else {
			rest = append(rest, c)
		}
	}
	d.journal = rest
	return changes
}

// lose is the loss of power: of entries and blocks that were not synced some stay
// and some do not. A change of entries stays or not as a whole, a rename too; it is
// lost if one is that it builds on.
func (d *Disk) lose() {
	for _, c := range d.journal {
		if d.n.hit(DiskLoss, d.n.files) {
			continue
		}
		if c.from == "" || d.dirs[path.Dir(c.from)].durable[path.Base(c.from)] == c.node {
			d.apply(c, onDisk)
		}
	}
	d.journal = nil
	for _, dir := range slices.Sorted(maps.Keys(d.dirs)) {
		of := d.dirs[dir]
		of.entries = maps.Clone(of.durable)
		for _, name := range slices.Sorted(maps.Keys(of.entries)) {
			if i := of.entries[name]; !i.dir {
				i.lose(d.n)
			}
		}
	}
}

// cleanName refuses names that leave the disk.
func cleanName(name string) (string, error) {
	clean := path.Clean(name)
	if name == "" || clean == ".." || strings.HasPrefix(clean, "../") || path.IsAbs(clean) {
		return "", fmt.Errorf("file name %q leaves the disk", name)
	}
	return clean, nil
}
