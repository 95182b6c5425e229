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

// SetKeyBytesMax is for a store that has attached nothing yet.
func (s *Store) SetKeyBytesMax(n int) { s.keyBytesMax = n }
