package control

import (
	"regexp"
	"strings"
	"time"

	"github.com/varvedb/varve/wal"
)

// Point names a branch, and a moment of it unless both LSN and Time are zero,
// which mean its head. At most one of the two is set.
type Point struct {
	Branch string
	LSN    wal.LSN
	Time   time.Time
}

// IsHead reports whether the point is wherever the branch's log ends.
func (p Point) IsHead() bool { return p.LSN == 0 && p.Time.IsZero() }

var branchName = regexp.MustCompile(`^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$`)

// ValidateName checks a branch's name: it becomes part of file names.
func ValidateName(name string) error {
	if !branchName.MatchString(name) {
		return Errorf(CodeUsage, "branch name %q: want 1 to 63 of a-z, 0-9, - and _, beginning and ending with a letter or digit", name)
	}
	return nil
}

// ParsePoint reads BRANCH, BRANCH@LSN or BRANCH@TIME, the time as in RFC 3339.
func ParsePoint(s string) (Point, error) {
	name, moment, dated := strings.Cut(s, "@")
	p := Point{Branch: name}
	if err := ValidateName(name); err != nil {
		return Point{}, err
	}
	if !dated {
		return p, nil
	}
	if strings.Contains(moment, "/") {
		lsn, err := wal.ParseLSN(moment)
		if err != nil || !lsn.IsValid() {
			return Point{}, Errorf(CodeUsage, "%q: %q is not an LSN such as 0/16B3748", s, moment)
		}
		p.LSN = lsn
		return p, nil
	}
	at, err := time.Parse(time.RFC3339Nano, moment)
	if err != nil {
		return Point{}, Errorf(CodeUsage, "%q: %q is neither an LSN such as 0/16B3748 nor a time such as 2026-11-22T10:00:00Z", s, moment)
	}
	p.Time = at
	return p, nil
}
