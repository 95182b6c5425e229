package lsm

import "slices"

// LocksAreFree reports whether nobody holds a lock that reads or Apply might wait for.
func (s *Store) LocksAreFree() bool {
	if !s.mu.TryLock() {
		return false
	}
	var timelines []*Timeline
	for _, n := range s.nodes {
		if n.timeline != nil {
			timelines = append(timelines, n.timeline)
		}
	}
	s.mu.Unlock()
	return !slices.ContainsFunc(timelines, func(t *Timeline) bool {
		if !t.mu.TryLock() {
			return true
		}
		t.mu.Unlock()
		return false
	})
}

// BeforeMap has f called by whoever is about to make a map that was left to be made.
func BeforeMap(f func()) (undo func()) {
	former := beforeBuild
	beforeBuild = f
	return func() { beforeBuild = former }
}

// SetKeyBytesMax is for a store that has attached nothing yet.
func (s *Store) SetKeyBytesMax(n int) { s.keyBytesMax = n }
