package bench

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/varvedb/varve/bench/latency"
	"github.com/varvedb/varve/bench/paired"
)

// recorded are the latencies of one arm in one round.
type recorded struct {
	at      [2]string // case and arm
	round   int
	rate    float64
	buckets []latency.Bucket
}

// record keeps an arm's latencies until its round is complete, in the precision of files.
func (s *Session) record(c, arm string, sample paired.Sample) {
	if sample.Latency == nil {
		return
	}
	coarse := latency.NewCoarse()
	coarse.Merge(sample.Latency)
	s.pending = append(s.pending, recorded{at: [2]string{c, arm}, rate: sample.Rate, buckets: coarse.Buckets()})
}

// latenciesOf merges what was recorded, arm by arm in order of appearance: the quiet
// rounds, as for all times, or all of them where none was quiet. Which rounds are quiet
// is known at the end only, as the best canary may be the last.
func latenciesOf(all []recorded, rounds []paired.Round) (merged []Latencies) {
	quiet, _ := paired.Quiet(rounds)
	disturbed := len(quiet) == 0
	counts := map[[2]string]map[int64]int64{}
	for _, rec := range all {
		if !disturbed && !slices.ContainsFunc(quiet, func(q paired.Round) bool { return q.Number == rec.round }) {
			continue
		}
		if counts[rec.at] == nil {
			counts[rec.at] = map[int64]int64{}
			merged = append(merged, Latencies{Case: rec.at[0], Arm: rec.at[1], Rate: rec.rate, Disturbed: disturbed})
		}
		i := slices.IndexFunc(merged, func(l Latencies) bool { return l.Case == rec.at[0] && l.Arm == rec.at[1] })
		merged[i].Rounds++
		for _, b := range rec.buckets {
			counts[rec.at][b.Nanos] += b.Count
		}
	}
	for i := range merged {
		for nanos, count := range counts[[2]string{merged[i].Case, merged[i].Arm}] {
			merged[i].Buckets = append(merged[i].Buckets, latency.Bucket{Nanos: nanos, Count: count})
		}
		slices.SortFunc(merged[i].Buckets, func(a, b latency.Bucket) int { return cmp.Compare(a.Nanos, b.Nanos) })
	}
	return merged
}

// Arrivals says from when the latencies count.
func (l *Latencies) Arrivals() string {
	if l.Rate > 0 {
		return fmt.Sprintf("open loop, %.0f/s arrive", l.Rate)
	}
	if strings.Contains(l.Case, "paced") { // Older files do not tell the rate.
		return "open loop"
	}
	return "closed loop"
}

// From says which rounds of a result its latencies are of, for a caption.
func (l *Latencies) From(r *Result) string {
	if l.Rounds == 0 {
		_, dropped := paired.Quiet(r.Rounds)
		return fmt.Sprintf("all %d rounds, %d of them disturbed", len(r.Rounds), dropped)
	}
	if l.Disturbed {
		return fmt.Sprintf("%d rounds, NONE of them quiet", l.Rounds)
	}
	return fmt.Sprintf("%d quiet rounds of %d", l.Rounds, len(r.Rounds))
}
