package control

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/varvedb/varve/compute/pgdata"
	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// label is what a timeline's index carries of its branch.
type label struct {
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	// Replaces is the timeline that had the name before a reset. While that is still
	// there, it goes by its id.
	Replaces wal.TimelineID `json:"replaces,omitzero"`
}

func newLabel(name string, replaces wal.TimelineID) ([]byte, error) {
	return json.Marshal(label{Name: name, Created: time.Now().UTC().Truncate(time.Second), Replaces: replaces})
}

// replacedBy tells which timelines others have replaced.
func replacedBy(infos []pageapi.TimelineInfo) map[wal.TimelineID]wal.TimelineID {
	replaced := map[wal.TimelineID]wal.TimelineID{}
	for _, info := range infos {
		var l label
		if json.Unmarshal(info.Meta, &l) == nil && !l.Replaces.IsZero() {
			replaced[l.Replaces] = info.ID
		}
	}
	return replaced
}

// labelOf reads a timeline's label. A timeline whose index is damaged tells none, and
// goes by the name that is remembered, or else by its id, so that the others can be listed.
func labelOf(info pageapi.TimelineInfo, known map[wal.TimelineID]branchRecord) (l label, err error) {
	if len(info.Meta) == 0 && info.Stopped != "" {
		return label{Name: cmp.Or(known[info.ID].Name, info.ID.String())}, nil
	}
	if err := json.Unmarshal(info.Meta, &l); err != nil {
		return label{}, fmt.Errorf("read the name of timeline %s: %w", info.ID, err)
	}
	return l, nil
}

// Branches lists the branches by name, with those whose indexes are missing.
func (s *Supervisor) Branches(ctx context.Context) ([]Branch, error) {
	known, err := s.state.branches()
	if err != nil {
		return nil, err
	}
	infos, err := s.storage.timelines(ctx)
	if err != nil {
		return nil, err
	}
	// A branch is remembered after it is made, and forgotten before it is deleted: one that
	// is remembered before and after the list was read must be in it.
	still, err := s.state.branches()
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(known, func(id wal.TimelineID, _ branchRecord) bool { _, is := still[id]; return !is })
	names, replaced := map[wal.TimelineID]string{}, replacedBy(infos)
	branches := make([]Branch, 0, len(infos))
	for _, info := range infos {
		l, err := labelOf(info, known)
		if err != nil {
			return nil, err
		}
		if _, is := replaced[info.ID]; is {
			l.Name = info.ID.String()
		}
		names[info.ID] = l.Name
		branches = append(branches, Branch{
			Name: l.Name, Timeline: info.ID, Created: l.Created,
			BranchLSN: info.BranchLSN, Start: info.Start, Horizon: info.Cutoff, Ingested: info.Last, Durable: info.Durable,
			Stopped: info.Stopped, Endpoint: s.endpointOf(l.Name),
		})
	}
	missing := missingBranches(s.project.Tenant, infos, known)
	for _, b := range missing {
		names[b.Timeline] = b.Name
	}
	for i, info := range infos {
		branches[i].Parent = names[info.Parent]
	}
	for _, b := range missing {
		b.Parent, b.Endpoint = names[known[b.Timeline].Parent], s.endpointOf(b.Name)
		branches = append(branches, b)
	}
	slices.SortFunc(branches, func(a, b Branch) int { return strings.Compare(a.Name, b.Name) })
	return branches, nil
}

// branch finds a branch by name.
func (s *Supervisor) branch(ctx context.Context, name string) (Branch, error) {
	branches, err := s.Branches(ctx)
	if err != nil {
		return Branch{}, err
	}
	for _, b := range branches {
		if b.Name == name && b.MissingIndex != "" {
			return Branch{}, s.missingError(name, b.MissingIndex)
		}
		if b.Name == name {
			return b, nil
		}
	}
	return Branch{}, Errorf(CodeNotFound, "there is no branch %s: see `varve branch list`", name)
}

// CreateBranch makes a branch of a point.
func (s *Supervisor) CreateBranch(ctx context.Context, name, parent string) (Branch, error) {
	if err := ValidateName(name); err != nil {
		return Branch{}, err
	}
	// One name, one branch: whoever asks second for the same name finds it taken.
	defer s.busy.lock(name)()
	if err := s.nameIsFree(ctx, name); err != nil {
		return Branch{}, err
	}
	at, err := s.Resolve(ctx, parent)
	if err != nil {
		return Branch{}, err
	}
	meta, err := newLabel(name, wal.TimelineID{})
	if err != nil {
		return Branch{}, err
	}
	if err := s.makeBranch(ctx, name, at, newTimelineID(), meta); err != nil {
		return Branch{}, err
	}
	return s.branch(ctx, name)
}

// makeBranch makes a timeline that leaves another at an LSN, and remembers it.
func (s *Supervisor) makeBranch(ctx context.Context, name string, at Resolved, id wal.TimelineID, meta []byte) error {
	at.LSN = branchPosition(at.LSN)
	// Log that the storage cannot take in must not lie below the branch.
	err := s.storage.awaitLSN(ctx, at.Timeline, at.LSN)
	if err == nil {
		err = s.storage.branch(ctx, at.Timeline, id, at.LSN, meta)
	}
	if errors.Is(err, timeline.ErrStopped) {
		return s.branchBelow(ctx, name, at, err)
	}
	if errors.Is(err, lsm.ErrBelowHorizon) {
		return s.belowHorizon(ctx, at, err)
	}
	if err != nil && strings.Contains(err.Error(), syscall.ENOSPC.Error()) {
		return Errorf(CodeFailed, "branch %s at %s: %v in the bucket %s: make room there, then try again", at.Branch, at.LSN, syscall.ENOSPC, s.bucket)
	}
	if err != nil {
		return fmt.Errorf("branch %s at %s: %w", at.Branch, at.LSN, err)
	}
	return s.state.setBranch(id, branchRecord{Name: name, Parent: at.Timeline})
}

// branchBelow is the error of whoever branches above where a branch's storage has stopped.
func (s *Supervisor) branchBelow(ctx context.Context, name string, at Resolved, stopped error) error {
	parent, err := s.branch(ctx, at.Branch)
	if err != nil {
		return err
	}
	return Unreadable(at.Branch, at.LSN, stopped, fmt.Sprintf("branch at what is there with `varve branch create %s --parent %s@%s`", name, at.Branch, parent.Ingested))
}

// Unreadable is the error of whoever asks for a moment, an LSN or a time, of a branch whose
// storage has stopped before it. fix says what to ask for.
func Unreadable(branch string, moment any, stopped error, fix string) error {
	return Errorf(CodeConflict, "branch %s cannot be read at %v: %v: %s", branch, moment, stopped, fix)
}

// branchPosition is where a branch at lsn leaves its parent: the place next to lsn
// where the branch's own log can begin. Records end at multiples of 8, so none ends
// between the two, and the branch equals its parent at either.
func branchPosition(lsn wal.LSN) wal.LSN { return pgwal.RecordPosition(lsn &^ 7) }

// NameTaken is the error of whoever wants to give a branch's name to another.
func NameTaken(name string) error {
	return Errorf(CodeConflict, "there is a branch %s already: choose another name, or delete it with `varve branch delete %s`", name, name)
}

func (s *Supervisor) nameIsFree(ctx context.Context, name string) error {
	_, err := s.branch(ctx, name)
	switch {
	case err == nil:
		return NameTaken(name)
	case CodeOf(err) != CodeNotFound:
		return err
	}
	return nil
}

// DeleteBranch removes a branch that has no children, no running endpoint and no readers.
func (s *Supervisor) DeleteBranch(ctx context.Context, name string) error {
	defer s.busy.lock(name)()
	branches, err := s.Branches(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(branches, func(b Branch) bool { return b.Name == name })
	if i < 0 {
		return Errorf(CodeNotFound, "there is no branch %s: see `varve branch list`", name)
	}
	if err := s.checkUnused(branches[i], branches); err != nil {
		return err
	}
	known, err := s.state.branches()
	if err != nil {
		return err
	}
	// First, so that what is deleted is never taken for lost.
	id := branches[i].Timeline
	if err := s.state.deleteBranch(id); err != nil {
		return err
	}
	if branches[i].MissingIndex == "" {
		if err := s.storage.delete(ctx, id); err != nil {
			return errors.Join(fmt.Errorf("delete branch %s: %w", name, err), s.rememberAgain(context.WithoutCancel(ctx), id, known[id]))
		}
	}
	return s.forgetEndpoint(name)
}

// rememberAgain remembers a branch whose deletion has failed, if it is there. Where the
// bucket does not say, the next start of the supervisor finds out.
func (s *Supervisor) rememberAgain(ctx context.Context, id wal.TimelineID, record branchRecord) error {
	branches, err := s.Branches(ctx)
	there := func(b Branch) bool { return b.Timeline == id && b.MissingIndex == "" }
	if err != nil || record.Name == "" || !slices.ContainsFunc(branches, there) {
		return nil
	}
	return s.state.setBranch(id, record)
}

// checkUnused refuses a branch that has children, a running endpoint or readers.
func (s *Supervisor) checkUnused(b Branch, branches []Branch) error {
	if e := b.Endpoint; e != nil && e.State == StateRunning {
		return Errorf(CodeConflict, "branch %s has a running endpoint: stop it with `varve endpoint stop %s`", b.Name, b.Name)
	}
	if r := s.readerOf(b.Name); r != nil {
		return Errorf(CodeConflict, "branch %s is being read, by %s: end that `varve psql`, or stop the reader with `varve endpoint stop %s`", b.Name, r.ID, r.ID)
	}
	for _, child := range branches {
		if child.Parent == b.Name {
			return Errorf(CodeConflict, "branch %s has a child %s: delete that first with `varve branch delete %s`, or make it independent with `varve branch detach %s`", b.Name, child.Name, child.Name, child.Name)
		}
	}
	return nil
}

// Resolve finds the timeline and LSN that a point names.
func (s *Supervisor) Resolve(ctx context.Context, point string) (Resolved, error) {
	p, err := ParsePoint(point)
	if err != nil {
		return Resolved{}, err
	}
	b, err := s.branch(ctx, p.Branch)
	if err != nil {
		return Resolved{}, err
	}
	r := Resolved{Branch: b.Name, Timeline: b.Timeline, Pageserver: s.pageserverAddr()}
	if p.LSN != 0 && p.LSN <= b.Ingested {
		// What the storage has is committed, even if no majority is left to say so.
		r.LSN = p.LSN
		return r, s.checkReadable(ctx, b, p.LSN)
	}
	head, err := s.head(ctx, b)
	if err != nil {
		return Resolved{}, fmt.Errorf("find the head of branch %s: %w", b.Name, err)
	}
	switch {
	case p.IsHead():
		r.LSN = head
	case p.LSN > head:
		return Resolved{}, Errorf(CodeNotFound, "%s lies in the future of branch %s, which ends at %s: name an LSN up to there", p.LSN, b.Name, head)
	case p.LSN != 0:
		r.LSN = p.LSN
		err = s.checkReadable(ctx, b, p.LSN)
	default:
		if r.LSN, err = s.lsnAt(ctx, b, p.Time, head); err == nil {
			err = s.checkReadable(ctx, b, r.LSN)
		}
	}
	return r, err
}

// root finds the branch that b descends from.
func (s *Supervisor) root(ctx context.Context, b Branch) (root Branch, err error) {
	for root = b; err == nil && root.Parent != ""; {
		root, err = s.branch(ctx, root.Parent)
	}
	return root, err
}

func (s *Supervisor) lsnAt(ctx context.Context, b Branch, at time.Time, head wal.LSN) (wal.LSN, error) {
	if now := time.Now(); at.After(now) {
		return 0, Errorf(CodeNotFound, "%s lies in the future: name a time up to now, which is %s", at.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	lsn, err := s.storage.lsnAt(ctx, b.Timeline, at, b.Ingested, head)
	if errors.Is(err, timeline.ErrStopped) {
		return 0, Unreadable(b.Name, at.Format(time.RFC3339), err, fmt.Sprintf("name a time before that, or %s@%s", b.Name, b.Ingested))
	}
	if !errors.Is(err, timeline.ErrBeforeHistory) {
		return lsn, Coded(err)
	}
	root, err := s.root(ctx, b)
	if err != nil {
		return 0, err
	}
	return 0, Errorf(CodeNotFound, "%s lies before the history of branch %s, which begins at %s: name a later time", at.Format(time.RFC3339), b.Name, root.Start)
}

// Import makes a root branch of a cleanly stopped data directory.
func (s *Supervisor) Import(ctx context.Context, dir, name string) (Branch, error) {
	if err := ValidateName(name); err != nil {
		return Branch{}, err
	}
	if !filepath.IsAbs(dir) {
		return Branch{}, Errorf(CodeUsage, "import %q: want an absolute path", dir)
	}
	if _, err := OpenDir(dir); err != nil {
		return Branch{}, err
	}
	// What cannot be read, the import itself names.
	if users, err := pgdata.StreamRoles(dir); err == nil && len(users) == 0 {
		return Branch{}, Errorf(CodeConflict, "import %s: no role there may log in and stream the log: give one LOGIN and SUPERUSER, in a single-user server if need be (postgres --single)", dir)
	}
	defer s.busy.lock(name)()
	if err := s.nameIsFree(ctx, name); err != nil {
		return Branch{}, err
	}
	meta, err := newLabel(name, wal.TimelineID{})
	if err != nil {
		return Branch{}, err
	}
	id := newTimelineID()
	if err := s.storage.importDir(ctx, dir, id, meta); err != nil {
		return Branch{}, err // it names the directory
	}
	if err := s.state.setBranch(id, branchRecord{Name: name}); err != nil {
		return Branch{}, err
	}
	return s.branch(ctx, name)
}
