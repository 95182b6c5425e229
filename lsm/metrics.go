package lsm

import (
	"slices"

	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/wal"
)

// Metrics is a snapshot of a store's counters.
type Metrics struct {
	Files           remote.FileStats // reads of layers, by where they were served from
	BlockCacheBytes int64            // gauge: decoded data blocks in memory
	IndexCacheBytes int64            // gauge: indexes and key filters in memory
	Timelines       []TimelineMetrics
}

// TimelineMetrics is an attached timeline and its counters.
type TimelineMetrics struct {
	ID wal.TimelineID
	Stats
}

// Metrics returns the counters of the store and of its attached timelines, in order of
// their ids.
func (s *Store) Metrics() Metrics {
	m := Metrics{Files: s.files.Stats(), BlockCacheBytes: s.blocks.Bytes(), IndexCacheBytes: s.tails.Bytes()}
	for _, t := range s.attachedTimelines() {
		m.Timelines = append(m.Timelines, TimelineMetrics{t.node.id, t.Stats()})
	}
	return m
}

// attachedTimelines lists the attached timelines in order of their ids.
func (s *Store) attachedTimelines() (all []*Timeline) {
	s.mu.Lock()
	defer s.mu.Unlock()
	//varve:unordered sorted below
	for _, n := range s.nodes {
		if n.timeline != nil {
			all = append(all, n.timeline)
		}
	}
	slices.SortFunc(all, func(a, b *Timeline) int { return slices.Compare(a.node.id[:], b.node.id[:]) })
	return all
}
