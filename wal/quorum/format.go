package quorum

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
)

// All numbers are little-endian.
//
// A message, version 1. It has no checksum of its own: it travels in a frame that has one.
//
//	offset  bytes
//	     0      1  version = 1
//	     1      1  kind
//	     2     16  timeline
//	    18      8  term
//	    26      8  session
//	    34         body, by kind:
//
//	kind  1 Greeting       proposer 8, tenant 16, system id 8, PG version 4
//	kind  2 GreetingReply  node 8, standing 1
//	kind  3 VoteRequest    nothing
//	kind  4 VoteReply      given 1 (0 or 1), flush 8, commit 8, history
//	kind  5 Elected        start 8, history
//	kind  6 ElectedReply   flush 8
//	kind  7 Append         begin 8, record end 8, commit 8, length 4, bytes
//	kind  8 AppendReply    written 8, flush 8, commit 8
//	kind  9 Refused        reason 1 (1 to 4)
//
//	history                count 4, then count times: term 8, LSN 8
//
// The state of an acceptor, version 1:
//
//	offset  bytes
//	     0      4  magic "VQST"
//	     4      2  version = 1
//	     6      1  standing
//	     7      1  zero
//	     8      8  node
//	    16     16  tenant
//	    32     16  timeline
//	    48      8  system id
//	    56      4  PG version
//	    60      8  start LSN
//	    68      8  term
//	    76      8  commit LSN
//	    84      8  durable mark
//	    92         history
//	   end      4  CRC32C of all bytes before
//
// A value has one encoding: what decodes, encodes to the same bytes.
const (
	messageVersion = 1
	stateVersion   = 1
	stateMagic     = "VQST"

	termStartBytes = 16
	crcBytes       = 4
	stateBytesMin  = 92 + 4 + crcBytes

	// StateBytesMax bounds an encoded state.
	StateBytesMax = stateBytesMin + HistoryEntriesMax*termStartBytes
)

type kind uint8

const (
	kindGreeting      kind = 1
	kindGreetingReply kind = 2
	kindVoteRequest   kind = 3
	kindVoteReply     kind = 4
	kindElected       kind = 5
	kindElectedReply  kind = 6
	kindAppend        kind = 7
	kindAppendReply   kind = 8
	kindRefused       kind = 9
)

func (Greeting) kind() kind      { return kindGreeting }
func (GreetingReply) kind() kind { return kindGreetingReply }
func (VoteRequest) kind() kind   { return kindVoteRequest }
func (VoteReply) kind() kind     { return kindVoteReply }
func (Elected) kind() kind       { return kindElected }
func (ElectedReply) kind() kind  { return kindElectedReply }
func (Append) kind() kind        { return kindAppend }
func (AppendReply) kind() kind   { return kindAppendReply }
func (Refused) kind() kind       { return kindRefused }

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

// shortBytes holds each message but those with bytes or a history.
const shortBytes = 64

func appendHeader(dst []byte, k kind, h Header) []byte {
	dst = slices.Grow(dst, shortBytes)
	dst = append(dst, messageVersion, byte(k))
	dst = append(dst, h.Timeline[:]...)
	dst = le.AppendUint64(dst, uint64(h.Term))
	return le.AppendUint64(dst, uint64(h.Session))
}

func appendLSN(dst []byte, l wal.LSN) []byte { return le.AppendUint64(dst, uint64(l)) }

// AppendHistory appends a term history: count 4, then count times term 8 and LSN 8.
func AppendHistory(dst []byte, h TermHistory) []byte {
	assert.That(len(h) <= HistoryEntriesMax, "term history of %d entries is within %d", len(h), HistoryEntriesMax)
	dst = le.AppendUint32(dst, uint32(len(h)))
	for _, e := range h {
		dst = le.AppendUint64(dst, uint64(e.Term))
		dst = appendLSN(dst, e.LSN)
	}
	return dst
}

// AppendTo implements [Message].
func (m Greeting) AppendTo(dst []byte) []byte {
	dst = appendHeader(dst, kindGreeting, m.Header)
	dst = le.AppendUint64(dst, uint64(m.Proposer))
	dst = append(dst, m.Tenant[:]...)
	dst = le.AppendUint64(dst, m.SystemID)
	return le.AppendUint32(dst, m.PGVersion)
}

// AppendTo implements [Message].
func (m GreetingReply) AppendTo(dst []byte) []byte {
	dst = appendHeader(dst, kindGreetingReply, m.Header)
	dst = le.AppendUint64(dst, uint64(m.Node))
	return append(dst, byte(m.Standing))
}

// AppendTo implements [Message].
func (m VoteRequest) AppendTo(dst []byte) []byte {
	return appendHeader(dst, kindVoteRequest, m.Header)
}

// AppendTo implements [Message].
func (m VoteReply) AppendTo(dst []byte) []byte {
	dst = appendHeader(dst, kindVoteReply, m.Header)
	if m.Given {
		dst = append(dst, 1)
	} else {
		dst = append(dst, 0)
	}
	dst = appendLSN(dst, m.Flush)
	dst = appendLSN(dst, m.Commit)
	return AppendHistory(dst, m.History)
}

// AppendTo implements [Message].
func (m Elected) AppendTo(dst []byte) []byte {
	dst = appendHeader(dst, kindElected, m.Header)
	dst = appendLSN(dst, m.Start)
	return AppendHistory(dst, m.History)
}

// AppendTo implements [Message].
func (m ElectedReply) AppendTo(dst []byte) []byte {
	return appendLSN(appendHeader(dst, kindElectedReply, m.Header), m.Flush)
}

// AppendTo implements [Message].
func (m Append) AppendTo(dst []byte) []byte {
	assert.That(len(m.Bytes) <= AppendBytesMax, "append of %d bytes is within %d", len(m.Bytes), AppendBytesMax)
	dst = appendHeader(slices.Grow(dst, shortBytes+len(m.Bytes)), kindAppend, m.Header)
	dst = appendLSN(dst, m.Begin)
	dst = appendLSN(dst, m.RecordEnd)
	dst = appendLSN(dst, m.Commit)
	dst = le.AppendUint32(dst, uint32(len(m.Bytes)))
	return append(dst, m.Bytes...)
}

// AppendTo implements [Message].
func (m AppendReply) AppendTo(dst []byte) []byte {
	dst = appendHeader(dst, kindAppendReply, m.Header)
	dst = appendLSN(dst, m.Written)
	dst = appendLSN(dst, m.Flush)
	return appendLSN(dst, m.Commit)
}

// AppendTo implements [Message].
func (m Refused) AppendTo(dst []byte) []byte {
	return append(appendHeader(dst, kindRefused, m.Header), byte(m.Reason))
}

// DecodeMessage reads one message that fills src, and keeps nothing of src.
// An error matches wal.ErrCorruption, except for an unknown version.
func DecodeMessage(src []byte) (Message, error) {
	r := reader{wal.NewFields("quorum message", src)}
	if version := r.Uint8("version"); r.Err() == nil && version != messageVersion {
		return nil, fmt.Errorf("decode quorum message: version %d is unknown, want %d", version, messageVersion)
	}
	k := kind(r.Uint8("kind"))
	var h Header
	r.Into("timeline", h.Timeline[:])
	h.Term = wal.Term(r.Uint64("term"))
	h.Session = Session(r.Uint64("session"))
	m := decodeBody(r, k, h)
	if err := r.Finish(); err != nil {
		return nil, fmt.Errorf("decode quorum message: %w", err)
	}
	return m, nil
}

func decodeBody(r reader, k kind, h Header) Message {
	switch k {
	case kindGreeting:
		m := Greeting{Header: h, Proposer: wal.NodeID(r.Uint64("proposer"))}
		r.Into("tenant", m.Tenant[:])
		m.SystemID = r.Uint64("system id")
		m.PGVersion = r.Uint32("PG version")
		return m
	case kindGreetingReply:
		return GreetingReply{Header: h, Node: wal.NodeID(r.Uint64("node")), Standing: r.standing()}
	case kindVoteRequest:
		return VoteRequest{Header: h}
	case kindVoteReply:
		return decodeVoteReply(r, h)
	case kindElected:
		return decodeElected(r, h)
	case kindElectedReply:
		return ElectedReply{Header: h, Flush: r.LSN("flush")}
	case kindAppend:
		return decodeAppend(r, h)
	case kindAppendReply:
		return AppendReply{Header: h, Written: r.LSN("written"), Flush: r.LSN("flush"), Commit: r.LSN("commit")}
	case kindRefused:
		m := Refused{Header: h, Reason: Reason(r.Uint8("reason"))}
		if m.Reason < ReasonStaleTerm || m.Reason > ReasonContradicts {
			r.Fail("reason", "1 to 4", uint8(m.Reason))
		}
		return m
	}
	r.Fail("kind", "1 to 9", uint8(k))
	return nil
}

func decodeVoteReply(r reader, h Header) Message {
	m := VoteReply{Header: h}
	switch given := r.Uint8("given"); given {
	case 0:
	case 1:
		m.Given = true
	default:
		r.Fail("given", "0 or 1", given)
	}
	m.Flush, m.Commit, m.History = r.LSN("flush"), r.LSN("commit"), r.history()
	if m.Given && len(m.History.UpTo(m.Flush)) == 0 {
		r.Fail("history of a vote", "an entry at or below the flush LSN", m.History)
	}
	return m
}

func decodeElected(r reader, h Header) Message {
	m := Elected{Header: h, Start: r.LSN("start"), History: r.history()}
	want := TermStart{Term: h.Term, LSN: m.Start}
	if r.Err() == nil && (len(m.History) == 0 || m.History.Last() != want) {
		r.Fail("history's last entry", want, m.History)
	}
	return m
}

func decodeAppend(r reader, h Header) Message {
	m := Append{Header: h, Begin: r.LSN("begin"), RecordEnd: r.LSN("record end"), Commit: r.LSN("commit")}
	n := r.Uint32("length")
	if n > AppendBytesMax {
		r.Fail("length", fmt.Sprintf("at most %d", AppendBytesMax), n)
	}
	m.Bytes = bytes.Clone(r.Bytes("bytes", int(n)))
	if r.Err() == nil && !m.sound() {
		r.Fail("record end", fmt.Sprintf("0, or above %v and at most %v", m.Begin, m.End()), m.RecordEnd)
	}
	return m
}

// sound reports whether the fields agree with each other.
func (m Append) sound() bool {
	return m.End() >= m.Begin && (m.RecordEnd == 0 || m.RecordEnd > m.Begin && m.RecordEnd <= m.End())
}

// AppendTo appends the encoded state to dst.
func (s AcceptorState) AppendTo(dst []byte) []byte {
	err := s.Check()
	assert.That(err == nil, "acceptor state to write is sound: %v", err)
	begin := len(dst)
	dst = append(dst, stateMagic...)
	dst = le.AppendUint16(dst, stateVersion)
	dst = append(dst, byte(s.Standing), 0)
	dst = le.AppendUint64(dst, uint64(s.Node))
	dst = append(dst, s.Tenant[:]...)
	dst = append(dst, s.Timeline[:]...)
	dst = le.AppendUint64(dst, s.SystemID)
	dst = le.AppendUint32(dst, s.PGVersion)
	dst = appendLSN(dst, s.Start)
	dst = le.AppendUint64(dst, uint64(s.Term))
	dst = appendLSN(dst, s.Commit)
	dst = appendLSN(dst, s.Durable)
	dst = AppendHistory(dst, s.History)
	return le.AppendUint32(dst, crc32.Checksum(dst[begin:], castagnoli))
}

// DecodeState reads a state that fills src; file names src in errors. An error matches
// wal.ErrCorruption, except for an unknown version. On any error the acceptor has no
// state: it must never go on with an empty one.
func DecodeState(file string, src []byte) (AcceptorState, error) {
	s, err := decodeState(file, src)
	if err != nil {
		return AcceptorState{}, fmt.Errorf("decode acceptor state: %w", err)
	}
	return s, nil
}

func decodeState(file string, src []byte) (s AcceptorState, err error) {
	if len(src) < stateBytesMin {
		return s, wal.Corruptf(file, 0, "length", fmt.Sprintf("at least %d", stateBytesMin), len(src))
	}
	body, sum := src[:len(src)-crcBytes], le.Uint32(src[len(src)-crcBytes:])
	if got := crc32.Checksum(body, castagnoli); got != sum {
		return s, wal.Corruptf(file, int64(len(body)), "checksum", fmt.Sprintf("%08x", sum), fmt.Sprintf("%08x", got))
	}
	r := reader{wal.NewFields(file, body)}
	if magic := string(r.Bytes("magic", len(stateMagic))); magic != stateMagic {
		return s, wal.Corruptf(file, 0, "magic", stateMagic, fmt.Sprintf("%q", magic))
	}
	if version := r.Uint16("version"); version != stateVersion {
		return s, fmt.Errorf("%s: version %d is unknown, want %d", file, version, stateVersion)
	}
	s.Standing = r.standing()
	if zero := r.Uint8("padding"); zero != 0 {
		r.Fail("padding", 0, zero)
	}
	s.Node = wal.NodeID(r.Uint64("node"))
	r.Into("tenant", s.Tenant[:])
	r.Into("timeline", s.Timeline[:])
	s.SystemID = r.Uint64("system id")
	s.PGVersion = r.Uint32("PG version")
	s.Start = r.LSN("start")
	s.Term = wal.Term(r.Uint64("term"))
	s.Commit, s.Durable, s.History = r.LSN("commit"), r.LSN("durable mark"), r.history()
	if err := r.Finish(); err != nil {
		return s, err
	}
	if err := s.Check(); err != nil {
		return s, wal.Corruptf(file, 0, "acceptor state", "a sound one", err)
	}
	return s, nil
}

// reader adds this package's own fields.
type reader struct{ *wal.Fields }

func (r reader) standing() Standing {
	s := Standing(r.Uint8("standing"))
	if s != Admitted && s != Amnesiac {
		r.Fail("standing", "1 or 2", uint8(s))
	}
	return s
}

func (r reader) history() TermHistory { return ReadHistory(r.Fields) }

// ReadHistory takes a term history, as [AppendHistory] writes it.
func ReadHistory(f *wal.Fields) TermHistory {
	n := f.Count("history", HistoryEntriesMax, termStartBytes)
	if n == 0 {
		return nil
	}
	h := make(TermHistory, n)
	for i := range h {
		h[i] = TermStart{Term: wal.Term(f.Uint64("term")), LSN: f.LSN("LSN")}
	}
	if err := h.Check(); err != nil {
		f.Fail("history", "a sound one", err)
	}
	return h
}
