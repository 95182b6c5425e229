package quorum

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
)

// labels spells a log out: the term of each byte, and a mark at each place where a
// term starts. It is what a history means.
func labels(h TermHistory, end wal.LSN) []TermHistory {
	var bytes []TermHistory
	for lsn := h[0].LSN; lsn < end; lsn++ {
		bytes = append(bytes, h.UpTo(lsn))
	}
	return bytes
}

// naiveCommonPoint compares byte by byte: two logs share a byte if all terms that started
// at or below it are the same in both.
func naiveCommonPoint(h TermHistory, flush wal.LSN, leader TermHistory) (wal.LSN, bool) {
	if h[0] != leader[0] {
		return 0, false
	}
	a, b := labels(h, flush), labels(leader, flush)
	common := h[0].LSN
	for i := range a {
		if len(a[i]) != len(b[i]) || a[i].Last() != b[i].Last() {
			break
		}
		common++
	}
	return common, true
}

// TestCommonPoint grows two logs out of one, each by terms that no other log has, as
// elections do, and compares with the naive twin.
func TestCommonPoint(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	grow := func(h TermHistory, parity wal.Term) TermHistory {
		for range rng.IntN(4) {
			last := h.Last()
			h = h.With(TermStart{Term: last.Term + 2 - (last.Term+parity)%2, LSN: last.LSN + wal.LSN(rng.IntN(4))})
		}
		return h
	}
	seen := map[wal.LSN]int{}
	for range 20000 {
		base := grow(TermHistory{{Term: 0, LSN: 10}}, wal.Term(rng.IntN(2)))
		h, leader := grow(base, 0), grow(base, 1)
		require.NoError(t, h.Check())
		flush := 10 + wal.LSN(rng.IntN(16))
		want, wantOK := naiveCommonPoint(h, flush, leader)
		got, ok := h.CommonPoint(flush, leader)
		require.Equal(t, wantOK, ok)
		require.Equal(t, want, got, "%v up to %v, leader %v", h, flush, leader)
		seen[got]++
	}
	require.Greater(t, len(seen), 10)
}

func TestCommonPointOfStrangers(t *testing.T) {
	_, ok := TermHistory{{0, 10}}.CommonPoint(20, TermHistory{{0, 11}, {1, 20}})
	require.False(t, ok)
}

func TestLastTermIsThatOfTheBytes(t *testing.T) {
	h := TermHistory{{0, 10}, {3, 20}, {4, 20}, {7, 30}}
	for flush, want := range map[wal.LSN]wal.Term{10: 0, 19: 0, 20: 4, 29: 4, 30: 7, 31: 7} {
		require.Equal(t, want, h.LastTerm(flush), "flush %v", flush)
	}
}

func TestWithSharesNothing(t *testing.T) {
	h := make(TermHistory, 1, 8)
	h[0] = TermStart{0, 10}
	a, b := h.With(TermStart{1, 20}), h.With(TermStart{2, 20})
	require.Equal(t, wal.Term(1), a.Last().Term)
	require.Equal(t, wal.Term(2), b.Last().Term)
}

func TestHistoryCheck(t *testing.T) {
	require.NoError(t, TermHistory{}.Check())
	require.NoError(t, TermHistory{{0, 10}, {1, 10}, {5, 12}}.Check())
	require.ErrorContains(t, TermHistory{{0, 0}}.Check(), "starts at no LSN")
	require.ErrorContains(t, TermHistory{{1, 10}, {1, 12}}.Check(), "term 1 after term 1")
	require.ErrorContains(t, TermHistory{{1, 10}, {2, 9}}.Check(), "before")
}
