package pageapi

import (
	"encoding/binary"
	"time"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// Payloads, little-endian; the frame around them has version and checksum. A text
// is a length (4) and its bytes.
//
//	relation       tablespace (4) database (4) relation (4)
//	GetPages       timeline (16) | relation (12) fork (1) block (4) LSN (8) | ...
//	  answer       page (8192) | ...
//	RelSize        timeline (16) | relation (12) | fork (1) | LSN (8)
//	  answer       blocks (4)
//	Values         timeline (16) | lo (18) | hi (18) | LSN (8)
//	  answer       more (1) | key (18) value (text) | ...
//	Position, Flush, Delete, Leases, Detach, Stats
//	               timeline (16)
//	WaitLSN, PrevRecord, Explain
//	               timeline (16) | LSN (8)
//	LSNAt          timeline (16) | nanoseconds since 1970 (8)
//	Branch         parent (16) | child (16) | LSN (8) | meta (text)
//	Import         timeline (16) | path (text) | meta (text)
//	Follow         timeline (16) | address (text) | ...
//	Collect        timeline (16) | cutoff (8) | dry run (1): 0 or 1
//	Lease          timeline (16) | id (16) LSN (8) end, seconds since 1970 (8)
//	Release        timeline (16) | id (16)
//	Position's answer
//	               last LSN (8) | durable LSN (8)
//	PrevRecord's, LSNAt's answer
//	               LSN (8)
//	Import's answer
//	               system identifier (8) | LSN (8) | previous record (8)
//	List's answer  id (16) parent (16) branch LSN (8) start (8) cutoff (8) last (8)
//	               durable (8) generation (4) layers (4) bytes (8) stopped (text)
//	               meta (text) | ...
//	Explain's answer
//	               id (16) cutoff (8) durable (8) bytes of layers (8) layers (4)
//	               versions (8) bytes (8) history (8) current (8) garbage (8)
//	               number of damaged objects (4) | text ... |
//	               LSN (8) branch (16) lease (16) bytes (8) only (8) | ...
//	Collect's answer
//	               cutoff (8) layers (4) bytes (8) dropped (8) |
//	               LSN (8) branch (16) lease (16) | ...
//	Leases' answer id (16) LSN (8) end (8) | ...
//	Stats' answer  id (16) | number of metrics (4) | name (text) value (8) ... |
//	               number of layers set aside (4) | text ... | the next id, and so on
const (
	timelineBytes = 16
	relBytes      = 12
	pageReadBytes = relBytes + 1 + 4 + 8
)

// AppendGetPages appends a GetPages of at most PagesMax reads.
func AppendGetPages(dst []byte, id wal.TimelineID, reads []timeline.PageRead) []byte {
	dst = append(dst, id[:]...)
	for _, r := range reads {
		dst = appendRel(dst, r.Rel)
		dst = append(dst, byte(r.Fork))
		dst = binary.LittleEndian.AppendUint32(dst, r.Block)
		dst = appendLSN(dst, r.LSN)
	}
	return dst
}

// DecodeGetPages reads a GetPages.
func DecodeGetPages(b []byte) (id wal.TimelineID, reads []timeline.PageRead, err error) {
	r := reader{rest: b}
	id = r.timeline()
	if n := len(r.rest) / pageReadBytes; n > PagesMax {
		return id, nil, wal.Corruptf("GetPages", 0, "number of pages", "at most 256", n)
	}
	for r.more() {
		reads = append(reads, timeline.PageRead{Rel: r.rel(), Fork: r.fork(), Block: r.u32(), LSN: r.lsn()})
	}
	return id, reads, r.finish("GetPages")
}

// AppendTo appends the request to dst.
func (m RelSizeRequest) AppendTo(dst []byte) []byte {
	dst = append(appendRel(append(dst, m.Timeline[:]...), m.Rel), byte(m.Fork))
	return appendLSN(dst, m.LSN)
}

// DecodeRelSize reads a RelSize.
func DecodeRelSize(b []byte) (m RelSizeRequest, err error) {
	r := reader{rest: b}
	m = RelSizeRequest{Timeline: r.timeline(), Rel: r.rel(), Fork: r.fork(), LSN: r.lsn()}
	return m, r.finish("RelSize")
}

// AppendTo appends the request to dst.
func (m ValuesRequest) AppendTo(dst []byte) []byte {
	dst = append(append(append(dst, m.Timeline[:]...), m.Lo[:]...), m.Hi[:]...)
	return appendLSN(dst, m.LSN)
}

// DecodeValues reads a Values.
func DecodeValues(b []byte) (m ValuesRequest, err error) {
	r := reader{rest: b}
	m = ValuesRequest{Timeline: r.timeline(), Lo: r.key(), Hi: r.key(), LSN: r.lsn()}
	return m, r.finish("Values")
}

// ValuesAnswer gathers the answer to a Values.
type ValuesAnswer struct{ body []byte }

// Add adds a value, or reports that the answer is full: the client asks for the
// rest from this key on.
func (a *ValuesAnswer) Add(key lsm.Key, value []byte) bool {
	if a.body == nil {
		a.body = []byte{0}
	}
	if len(a.body) >= valuesBytesMax {
		a.body[0] = 1
		return false
	}
	a.body = appendText(append(a.body, key[:]...), value)
	return true
}

// Bytes is the answer's payload.
func (a *ValuesAnswer) Bytes() []byte {
	if a.body == nil {
		return []byte{0}
	}
	return a.body
}

// decodeValuesAnswer calls fn with every value, and reports the last key and whether
// there is more after it.
func decodeValuesAnswer(b []byte, fn func(lsm.Key, []byte) error) (last lsm.Key, more bool, err error) {
	r := reader{rest: b}
	more = r.u8() == 1
	for r.more() {
		key, value := r.key(), r.bytes(int(r.u32()))
		if r.failed {
			break
		}
		if err := fn(key, value); err != nil {
			return last, false, err
		}
		last = key
	}
	return last, more, r.finish("answer to Values")
}

// AppendTimeline appends a request that names a timeline and no more.
func AppendTimeline(dst []byte, id wal.TimelineID) []byte { return append(dst, id[:]...) }

// DecodeTimeline reads a Position, Flush, Delete, Leases or Detach.
func DecodeTimeline(b []byte) (id wal.TimelineID, err error) {
	r := reader{rest: b}
	id = r.timeline()
	return id, r.finish("request for a timeline")
}

// AppendTimelineLSN appends a WaitLSN, PrevRecord or Explain.
func AppendTimelineLSN(dst []byte, id wal.TimelineID, lsn wal.LSN) []byte {
	return appendLSN(append(dst, id[:]...), lsn)
}

// DecodeTimelineLSN reads a WaitLSN, PrevRecord or Explain.
func DecodeTimelineLSN(b []byte) (id wal.TimelineID, lsn wal.LSN, err error) {
	r := reader{rest: b}
	id, lsn = r.timeline(), r.lsn()
	return id, lsn, r.finish("request for a timeline at an LSN")
}

// AppendLSNAt appends a LSNAt.
func AppendLSNAt(dst []byte, id wal.TimelineID, at time.Time) []byte {
	return binary.LittleEndian.AppendUint64(append(dst, id[:]...), uint64(at.UnixNano()))
}

// DecodeLSNAt reads a LSNAt.
func DecodeLSNAt(b []byte) (id wal.TimelineID, at time.Time, err error) {
	r := reader{rest: b}
	id, at = r.timeline(), time.Unix(0, int64(r.u64())).UTC()
	return id, at, r.finish("LSNAt")
}

// AppendTo appends the request to dst.
func (m BranchRequest) AppendTo(dst []byte) []byte {
	dst = append(append(dst, m.Parent[:]...), m.Child[:]...)
	return appendText(appendLSN(dst, m.At), m.Meta)
}

// DecodeBranch reads a Branch.
func DecodeBranch(b []byte) (m BranchRequest, err error) {
	r := reader{rest: b}
	m = BranchRequest{Parent: r.timeline(), Child: r.timeline(), At: r.lsn(), Meta: []byte(r.text())}
	return m, r.finish("Branch")
}

// AppendTo appends the request to dst.
func (m ImportRequest) AppendTo(dst []byte) []byte {
	return appendText(appendText(append(dst, m.Timeline[:]...), []byte(m.Path)), m.Meta)
}

// DecodeImport reads an Import.
func DecodeImport(b []byte) (m ImportRequest, err error) {
	r := reader{rest: b}
	m = ImportRequest{Timeline: r.timeline(), Path: r.text(), Meta: []byte(r.text())}
	return m, r.finish("Import")
}

// AppendTo appends the request to dst.
func (m FollowRequest) AppendTo(dst []byte) []byte {
	dst = append(dst, m.Timeline[:]...)
	for _, addr := range m.Safekeepers {
		dst = appendText(dst, []byte(addr))
	}
	return dst
}

// DecodeFollow reads a Follow.
func DecodeFollow(b []byte) (m FollowRequest, err error) {
	r := reader{rest: b}
	m.Timeline = r.timeline()
	for r.more() {
		m.Safekeepers = append(m.Safekeepers, r.text())
		r.failed = r.failed || len(m.Safekeepers) > sourcesMax
	}
	return m, r.finish("Follow")
}

// AppendTo appends the answer to dst.
func (p Position) AppendTo(dst []byte) []byte { return appendLSN(appendLSN(dst, p.Last), p.Durable) }

// DecodePosition reads the answer to Position, WaitLSN and Flush.
func DecodePosition(b []byte) (p Position, err error) {
	r := reader{rest: b}
	p = Position{Last: r.lsn(), Durable: r.lsn()}
	return p, r.finish("position")
}

// AppendLSN appends the answer to LSNAt and PrevRecord.
func AppendLSN(dst []byte, lsn wal.LSN) []byte { return appendLSN(dst, lsn) }

// DecodeLSN reads the answer to LSNAt and PrevRecord.
func DecodeLSN(b []byte) (lsn wal.LSN, err error) {
	r := reader{rest: b}
	lsn = r.lsn()
	return lsn, r.finish("LSN")
}

// AppendTo appends the answer to dst.
func (m Imported) AppendTo(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, m.SystemID)
	return appendLSN(appendLSN(dst, m.LSN), m.PrevRecord)
}

// DecodeImported reads the answer to Import.
func DecodeImported(b []byte) (m Imported, err error) {
	r := reader{rest: b}
	m = Imported{SystemID: r.u64(), LSN: r.lsn(), PrevRecord: r.lsn()}
	return m, r.finish("answer to Import")
}

// AppendTo appends one timeline of the answer to List to dst.
func (m TimelineInfo) AppendTo(dst []byte) []byte {
	dst = append(append(dst, m.ID[:]...), m.Parent[:]...)
	for _, lsn := range []wal.LSN{m.BranchLSN, m.Start, m.Cutoff, m.Last, m.Durable} {
		dst = appendLSN(dst, lsn)
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(m.Generation))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(m.Layers))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(m.Bytes))
	stopped := m.Stopped[:min(len(m.Stopped), textMax)]
	return appendText(appendText(dst, []byte(stopped)), m.Meta)
}

// DecodeTimelines reads the answer to List.
func DecodeTimelines(b []byte) (list []TimelineInfo, err error) {
	r := reader{rest: b}
	for r.more() {
		m := TimelineInfo{ID: r.timeline(), Parent: r.timeline(), BranchLSN: r.lsn(), Start: r.lsn(), Cutoff: r.lsn()}
		m.Position = Position{Last: r.lsn(), Durable: r.lsn()}
		m.Generation, m.Layers, m.Bytes = wal.Generation(r.u32()), int(r.u32()), int64(r.u64())
		m.Stopped, m.Meta = r.text(), []byte(r.text())
		list = append(list, m)
	}
	return list, r.finish("answer to List")
}

// AppendExplanation appends the answer to Explain to dst.
func AppendExplanation(dst []byte, e lsm.Explanation) []byte {
	dst = appendLSN(appendLSN(append(dst, e.Timeline[:]...), e.Cutoff), e.Durable)
	dst = appendCounts(dst, e.LayerBytes)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(e.Layers))
	dst = appendCounts(dst, e.Versions, e.Bytes, e.History, e.Current, e.Garbage)
	dst = appendTexts(dst, e.Damage)
	for _, p := range e.Pins {
		dst = appendCounts(appendPin(dst, p.Pin), p.Bytes, p.Only)
	}
	return dst
}

func appendCounts(dst []byte, counts ...int64) []byte {
	for _, n := range counts {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(n))
	}
	return dst
}

// DecodeExplanation reads the answer to Explain.
func DecodeExplanation(b []byte) (e lsm.Explanation, err error) {
	r := reader{rest: b}
	count := func() int64 { return int64(r.u64()) }
	e = lsm.Explanation{Timeline: r.timeline(), Cutoff: r.lsn(), Durable: r.lsn(), LayerBytes: count(), Layers: int(r.u32())}
	e.Versions, e.Bytes, e.History, e.Current, e.Garbage = count(), count(), count(), count(), count()
	e.Damage = r.texts()
	for r.more() {
		p := lsm.PinCost{Pin: r.pin()}
		p.Bytes, p.Only = count(), count()
		e.Pins = append(e.Pins, p)
	}
	return e, r.finish("answer to Explain")
}

func appendLSN(dst []byte, lsn wal.LSN) []byte {
	return binary.LittleEndian.AppendUint64(dst, uint64(lsn))
}

func appendRel(dst []byte, rel pgwal.RelFileNode) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, rel.Spc)
	dst = binary.LittleEndian.AppendUint32(dst, rel.DB)
	return binary.LittleEndian.AppendUint32(dst, rel.Rel)
}

func appendText(dst, text []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(dst, uint32(len(text))), text...)
}

func appendTexts(dst []byte, texts []string) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(texts)))
	for _, text := range texts {
		dst = appendText(dst, []byte(text[:min(len(text), textMax)]))
	}
	return dst
}

func (r *reader) texts() (texts []string) {
	for n := r.u32(); n > 0 && !r.failed; n-- {
		texts = append(texts, r.text())
	}
	return texts
}

// reader reads fields one after the other; the first that is not there fails it.
type reader struct {
	rest   []byte
	failed bool
}

func (r *reader) bytes(n int) []byte {
	if r.failed || n > len(r.rest) {
		r.failed = true
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

// more reports whether there is anything left to read.
func (r *reader) more() bool { return !r.failed && len(r.rest) > 0 }

func (r *reader) u8() uint8 {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) lsn() wal.LSN { return wal.LSN(r.u64()) }

func (r *reader) timeline() (id wal.TimelineID) {
	copy(id[:], r.bytes(timelineBytes))
	return id
}

func (r *reader) key() (k lsm.Key) {
	copy(k[:], r.bytes(len(k)))
	return k
}

func (r *reader) rel() pgwal.RelFileNode {
	return pgwal.RelFileNode{Spc: r.u32(), DB: r.u32(), Rel: r.u32()}
}

func (r *reader) fork() pgwal.Fork {
	fork := pgwal.Fork(r.u8())
	r.failed = r.failed || fork > pgwal.InitFork
	return fork
}

func (r *reader) text() string {
	n := r.u32()
	r.failed = r.failed || n > textMax
	return string(r.bytes(int(n)))
}

// finish reports whether all fields were there, and nothing after them.
func (r *reader) finish(what string) error {
	if r.failed || len(r.rest) > 0 {
		return wal.Corruptf("message", 0, what, "fields within their bounds", "others")
	}
	return nil
}
