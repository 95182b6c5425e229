package pageserver

import (
	"context"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pageapi"
)

// stats answers with what this server has counted, and what its timelines have.
func (s *Server) stats(_ context.Context, payload []byte) ([]byte, error) {
	id, err := pageapi.DecodeTimeline(payload)
	if err != nil {
		return nil, badRequest(err)
	}
	m := s.store.Metrics()
	answer := pageapi.Stats{Metrics: s.ownMetrics(m)}.AppendTo(nil)
	found := id.IsZero()
	for _, t := range m.Timelines {
		if !id.IsZero() && t.ID != id {
			continue
		}
		found = true
		stats := pageapi.Stats{ID: t.ID, Metrics: timelineMetrics(&t.Stats)}
		if attached := s.store.Attached(t.ID); attached != nil {
			for _, a := range attached.Aside() {
				stats.Aside = append(stats.Aside, a.Object+": "+a.Cause.Error())
			}
		}
		answer = stats.AppendTo(answer)
	}
	if !found {
		_, err = s.branch(id) // it is kept, though not attached, or it is not
	}
	return answer, err
}

// ownMetrics are those of what all timelines have in common.
func (s *Server) ownMetrics(m lsm.Metrics) []pageapi.Metric {
	calls := s.calls.Calls()
	return []pageapi.Metric{
		{Name: "timelines", Value: int64(len(m.Timelines))},
		{Name: "cache_hits", Value: int64(m.Files.Hits)},
		{Name: "cache_fetches", Value: int64(m.Files.Fetches)},
		{Name: "cache_errors", Value: int64(m.Files.Errors)},
		{Name: "block_cache_bytes", Value: m.BlockCacheBytes},
		{Name: "index_cache_bytes", Value: m.IndexCacheBytes},
		{Name: "bucket_puts", Value: int64(calls.Puts)},
		{Name: "bucket_gets", Value: int64(calls.Gets)},
		{Name: "bucket_range_gets", Value: int64(calls.Ranges)},
		{Name: "bucket_heads", Value: int64(calls.Heads)},
		{Name: "bucket_lists", Value: int64(calls.Lists)},
		{Name: "bucket_deletes", Value: int64(calls.Deletes)},
		{Name: "bucket_failures", Value: int64(calls.Failures)},
		{Name: "bucket_bytes_put", Value: int64(calls.BytesPut)},
		{Name: "bucket_bytes_got", Value: int64(calls.BytesGot)},
	}
}

func timelineMetrics(st *lsm.Stats) []pageapi.Metric {
	return []pageapi.Metric{
		{Name: "layers", Value: int64(st.Layers)},
		{Name: "layers_unmerged", Value: int64(st.Flushed)},
		{Name: "layers_dead", Value: int64(st.Dead)},
		{Name: "layers_aside", Value: int64(st.Aside)},
		{Name: "delta_layer_bytes", Value: st.LayerBytes - st.ImageBytes},
		{Name: "image_layer_bytes", Value: st.ImageBytes},
		{Name: "memtable_bytes", Value: st.MemtableBytes},
		{Name: "memtables_waiting", Value: int64(st.Frozen)},
		{Name: "pressure_percent", Value: int64(100 * st.Pressure)},
		{Name: "slowed_milliseconds", Value: st.Eased.Milliseconds()},
		{Name: "versions", Value: int64(st.Versions)},
		{Name: "flushes", Value: int64(st.Flushes)},
		{Name: "flushed_bytes", Value: int64(st.FlushedBytes)},
		{Name: "merges", Value: int64(st.Merges)},
		{Name: "merged_bytes", Value: int64(st.MergedBytes)},
		{Name: "merged_images", Value: int64(st.Images)},
		{Name: "dropped_bytes", Value: int64(st.Dropped)},
		{Name: "deleted_layers", Value: int64(st.Deleted)},
		{Name: "reads", Value: int64(st.Reads)},
		{Name: "reads_again", Value: int64(st.ReadsAgain)},
		{Name: "memtables_visited", Value: int64(st.TablesVisited)},
		{Name: "layers_visited", Value: int64(st.LayersVisited)},
		{Name: "layers_skipped", Value: int64(st.LayersSkipped)},
	}
}
