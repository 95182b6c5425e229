package meter

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Disk counts what reaches the disk that a path lies on, whoever sent it.
type Disk struct{ stat string }

// NewDisk finds the disk below path. One that has never counted a flush, as one without a
// cache to flush, is an error.
func NewDisk(path string) (Disk, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return Disk{}, fmt.Errorf("find disk of %s: %w", path, err)
	}
	d := Disk{fmt.Sprintf("/sys/dev/block/%d:%d/stat", unix.Major(st.Dev), unix.Minor(st.Dev))}
	n, err := d.Flushes()
	if err == nil && n == 0 {
		err = fmt.Errorf("find disk of %s: it counts no flushes", path)
	}
	return d, err
}

// flushField is the place of the completed flush requests in a disk's stat.
const flushField = 15

// Flushes is the number of flush requests that the disk has completed. Those that are
// asked for at the same time may be one.
func (d Disk) Flushes() (int64, error) {
	text, err := os.ReadFile(d.stat)
	if err != nil {
		return 0, fmt.Errorf("count flushes: %w", err)
	}
	fields := strings.Fields(string(text))
	if len(fields) <= flushField {
		return 0, fmt.Errorf("count flushes: %s has %d fields, none of flushes", d.stat, len(fields))
	}
	return strconv.ParseInt(fields[flushField], 10, 64)
}
