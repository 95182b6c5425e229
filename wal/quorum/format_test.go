package quorum

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
)

var updateGolden = flag.Bool("golden", false, "write testdata/format.golden anew")

var sampleHistory = TermHistory{{Term: 0, LSN: 0x100}, {Term: 2, LSN: 0x180}, {Term: 5, LSN: 0x180}}

func sampleHeader() Header {
	return Header{Timeline: wal.TimelineID{0xbb, 15: 0x0b}, Term: 5, Session: 0x0102030405060708}
}

func sampleMessages() []Message {
	h := sampleHeader()
	return []Message{
		Greeting{Header: h, Proposer: 9, Tenant: wal.TenantID{0xaa, 15: 0x0a}, SystemID: 0x1122334455667788, PGVersion: 15},
		GreetingReply{Header: h, Node: 3, Standing: Amnesiac},
		VoteRequest{Header: h},
		VoteReply{Header: h},
		VoteReply{Header: h, Given: true, Flush: 0x200, Commit: 0x1f0, History: sampleHistory},
		Elected{Header: h, Start: 0x180, History: sampleHistory},
		ElectedReply{Header: h, Flush: 0x200},
		Append{Header: h, Begin: 0x200, RecordEnd: 0x203, Commit: 0x1f0, Bytes: []byte("abcd")},
		Append{Header: h, Begin: 0x200, Commit: 0x200, Bytes: []byte{}},
		AppendReply{Header: h, Written: 0x204, Flush: 0x203, Commit: 0x200},
		Refused{Header: h, Reason: ReasonAmnesiac},
		Refused{Header: h, Reason: ReasonContradicts},
	}
}

func sampleState() AcceptorState {
	return AcceptorState{
		Identity: Identity{Tenant: wal.TenantID{0xaa}, Timeline: wal.TimelineID{0xbb}, SystemID: 7, PGVersion: 15, Start: 0x100},
		Node:     3, Standing: Admitted, Term: 6, History: sampleHistory, Commit: 0x1f0, Durable: 0x200,
	}
}

// TestGolden pins the bytes: a change of theirs needs a new version.
func TestGolden(t *testing.T) {
	var b strings.Builder
	for _, m := range sampleMessages() {
		fmt.Fprintf(&b, "%T\n%s", m, hex.Dump(m.AppendTo(nil)))
	}
	fmt.Fprintf(&b, "AcceptorState\n%s", hex.Dump(sampleState().AppendTo(nil)))
	if *updateGolden {
		require.NoError(t, os.WriteFile("testdata/format.golden", []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile("testdata/format.golden")
	require.NoError(t, err)
	require.Equal(t, string(want), b.String())
}

func TestMessagesRoundTrip(t *testing.T) {
	for _, m := range sampleMessages() {
		got, err := DecodeMessage(m.AppendTo([]byte("before"))[6:])
		require.NoError(t, err)
		require.Equal(t, m, got)
		require.Equal(t, sampleHeader(), got.Head())
	}
}

// TestShortMessages cuts each message at every length.
func TestShortMessages(t *testing.T) {
	for _, m := range sampleMessages() {
		whole := m.AppendTo(nil)
		for n := range whole {
			_, err := DecodeMessage(whole[:n])
			require.ErrorIs(t, err, wal.ErrCorruption, "%T cut at %d", m, n)
		}
		_, err := DecodeMessage(append(whole, 0))
		require.ErrorIs(t, err, wal.ErrCorruption, "%T and a byte more", m)
	}
}

func TestUnsoundMessages(t *testing.T) {
	h := sampleHeader()
	for name, m := range map[string]Message{
		"record end at begin":     Append{Header: h, Begin: 10, RecordEnd: 10, Bytes: []byte("ab")},
		"record end beyond":       Append{Header: h, Begin: 10, RecordEnd: 13, Bytes: []byte("ab")},
		"LSN overflow":            Append{Header: h, Begin: ^wal.LSN(0), Bytes: []byte("ab")},
		"vote without a history":  VoteReply{Header: h, Given: true, Flush: 10},
		"vote below its history":  VoteReply{Header: h, Given: true, Flush: 0xff, History: sampleHistory},
		"elected by another term": Elected{Header: h, Start: 0x190, History: sampleHistory},
		"elected without history": Elected{Header: h, Start: 0x190},
		"falling history":         Elected{Header: h, Start: 1, History: TermHistory{{1, 9}, {5, 1}}},
		"unknown reason":          Refused{Header: h, Reason: 77},
		"unknown standing":        GreetingReply{Header: h, Standing: 3},
	} {
		_, err := DecodeMessage(m.AppendTo(nil))
		require.ErrorIs(t, err, wal.ErrCorruption, name)
	}
}

func TestUnknownVersionIsNamed(t *testing.T) {
	m := VoteRequest{Header: sampleHeader()}.AppendTo(nil)
	m[0] = 2
	_, err := DecodeMessage(m)
	require.EqualError(t, err, "decode quorum message: version 2 is unknown, want 1")
	require.NotErrorIs(t, err, wal.ErrCorruption)

	s := sampleState().AppendTo(nil)
	s[4] = 9
	s = le.AppendUint32(s[:len(s)-crcBytes], crc32.Checksum(s[:len(s)-crcBytes], castagnoli))
	_, err = DecodeState("quorum.state", s)
	require.EqualError(t, err, "decode acceptor state: quorum.state: version 9 is unknown, want 1")
	require.NotErrorIs(t, err, wal.ErrCorruption)
}

// TestStateBits flips every bit of a state: none goes unnoticed.
func TestStateBits(t *testing.T) {
	whole := sampleState().AppendTo(nil)
	got, err := DecodeState("quorum.state", whole)
	require.NoError(t, err)
	require.Equal(t, sampleState(), got)
	for i := range len(whole) * 8 {
		bad := bytes.Clone(whole)
		bad[i/8] ^= 1 << (i % 8)
		_, err := DecodeState("quorum.state", bad)
		require.ErrorIs(t, err, wal.ErrCorruption, "bit %d", i)
	}
	for n := range whole {
		_, err := DecodeState("quorum.state", whole[:n])
		require.ErrorIs(t, err, wal.ErrCorruption, "cut at %d", n)
	}
}

func TestUnsoundStates(t *testing.T) {
	for want, change := range map[string]func(*AcceptorState){
		"unknown standing 0":                            func(s *AcceptorState) { s.Standing = 0 },
		"term history is empty":                         func(s *AcceptorState) { s.History = nil },
		"term history starts at 0/100, the log at 0/99": func(s *AcceptorState) { s.Start = 0x99 },
		"term history ends in term 5, above term 4":     func(s *AcceptorState) { s.Term = 4 },
		"commit LSN 0/1 is below":                       func(s *AcceptorState) { s.Commit = 1 },
		"durable mark 0/1 is below":                     func(s *AcceptorState) { s.Durable = 1 },
	} {
		s := sampleState()
		change(&s)
		require.ErrorContains(t, s.Check(), want)
		require.Panics(t, func() { s.AppendTo(nil) })
	}
}

// FuzzDecodeMessage demands an error or the same bytes again.
func FuzzDecodeMessage(f *testing.F) {
	for _, m := range sampleMessages() {
		f.Add(m.AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		m, err := DecodeMessage(src)
		if err == nil {
			require.Equal(t, src, m.AppendTo(nil))
		}
	})
}

// FuzzDecodeState repairs the checksum, so that what it guards is reached.
func FuzzDecodeState(f *testing.F) {
	f.Add(sampleState().AppendTo(nil))
	f.Fuzz(func(t *testing.T, src []byte) {
		if len(src) >= crcBytes {
			body := src[: len(src)-crcBytes : len(src)-crcBytes]
			src = le.AppendUint32(body, crc32.Checksum(body, castagnoli))
		}
		s, err := DecodeState("fuzz", src)
		if err == nil {
			require.Equal(t, src, s.AppendTo(nil))
		}
	})
}
