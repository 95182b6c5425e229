package wal_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
)

func TestLSNTextRoundTrip(t *testing.T) {
	for _, text := range []string{"0/0", "0/16B3748", "1/0", "FFFFFFFF/FFFFFFFF"} {
		lsn, err := wal.ParseLSN(text)
		require.NoError(t, err)
		require.Equal(t, text, lsn.String())
	}
}

func TestParseLSNRefusesWhatIsNotAnLSN(t *testing.T) {
	for _, text := range []string{"", "0", "/", "0/", "/0", "x/0", "0/x", "1/2/3", "0/123456789", "-1/0", "+1/0"} {
		_, err := wal.ParseLSN(text)
		require.Error(t, err, "%q", text)
		require.Contains(t, err.Error(), fmt.Sprintf("%q", text))
	}
}

func TestLSNSegments(t *testing.T) {
	lsn := wal.SegmentStart(3) + 17
	require.Equal(t, uint64(3), lsn.Segment())
	require.Equal(t, 17, lsn.SegmentOffset())
}

func TestIDTextRoundTrip(t *testing.T) {
	const text = "00112233445566778899aabbccddeeff"
	tenant, err := wal.ParseTenantID(text)
	require.NoError(t, err)
	require.Equal(t, text, tenant.String())
	timeline, err := wal.ParseTimelineID(text)
	require.NoError(t, err)
	require.Equal(t, text, timeline.String())
	for _, bad := range []string{"", "00", text + "00", "zz112233445566778899aabbccddeeff"} {
		_, err := wal.ParseTenantID(bad)
		require.Error(t, err)
		_, err = wal.ParseTimelineID(bad)
		require.Error(t, err)
	}
}

func TestCorruptionIsRecognisedThroughWrapping(t *testing.T) {
	err := fmt.Errorf("open layer: %w", wal.Corruptf("a.layer", 4096, "block checksum", 1, 2))
	require.ErrorIs(t, err, wal.ErrCorruption)
	var corruption *wal.CorruptionError
	require.True(t, errors.As(err, &corruption))
	require.Equal(t, int64(4096), corruption.Offset)
	require.EqualError(t, err, "open layer: corruption in a.layer at offset 4096: block checksum: want 1, got 2")
}
