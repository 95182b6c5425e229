package bench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Keep holds what is costly to make and what several suites of one run measure, such as
// a recorded log. Make it with NewKeep.
type Keep struct {
	scratch string
	dir     string // empty until something is made
	made    map[string]any
}

// NewKeep makes an empty one, whose files will be below scratch.
func NewKeep(scratch string) *Keep { return &Keep{scratch: scratch, made: map[string]any{}} }

// Kept returns what was kept by a name, or makes and keeps it. make is given a directory
// of its own.
func Kept[T any](k *Keep, name string, make func(dir string) (T, error)) (value T, err error) {
	if had, ok := k.made[name]; ok {
		return had.(T), nil // A name belongs to one type.
	}
	if k.dir == "" {
		if k.dir, err = os.MkdirTemp(k.scratch, "bench-kept-"); err != nil {
			return value, fmt.Errorf("make scratch directory: %w", err)
		}
	}
	dir := filepath.Join(k.dir, fmt.Sprint(len(k.made)))
	// PostgreSQL's user must get through both.
	if err := errors.Join(os.Chmod(k.dir, 0o755), os.Mkdir(dir, 0o755)); err != nil {
		return value, fmt.Errorf("make scratch directory: %w", err)
	}
	if value, err = make(dir); err != nil {
		return value, errors.Join(err, os.RemoveAll(dir))
	}
	k.made[name] = value
	return value, nil
}

// Close removes the files.
func (k *Keep) Close() error {
	if k.dir == "" {
		return nil
	}
	return os.RemoveAll(k.dir)
}
