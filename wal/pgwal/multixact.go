package pgwal

// The operations of MultiXact records (multixact.h).
const (
	OpMultiXactZeroOffsets = 0x00
	OpMultiXactZeroMembers = 0x10
	OpMultiXactCreate      = 0x20
	OpMultiXactTruncate    = 0x30
)

// ParseMultiXactZeroPage reads a ZERO_OFF_PAGE or ZERO_MEM_PAGE record: the number of
// the new page.
func ParseMultiXactZeroPage(rec *Record) (page uint32, err error) { return parsePage(rec) }

// MultiXactCreate is what a CREATE_ID record says: a new multixact and its members,
// the first of them at Offset.
type MultiXactCreate struct {
	ID, Offset uint32
	Members    []MultiXactMember
}

// MultiXactMember is one transaction of a multixact.
type MultiXactMember struct {
	XID    XID
	Status MultiXactStatus
}

// MultiXactStatus is what a member does to the row.
type MultiXactStatus uint32

// The statuses, as the log and pg_multixact hold them.
const (
	MultiXactForKeyShare    MultiXactStatus = 0
	MultiXactForShare       MultiXactStatus = 1
	MultiXactForNoKeyUpdate MultiXactStatus = 2
	MultiXactForUpdate      MultiXactStatus = 3
	MultiXactNoKeyUpdate    MultiXactStatus = 4
	MultiXactUpdate         MultiXactStatus = 5
)

var multiXactStatusNames = [...]string{"keysh", "sh", "fornokeyupd", "forupd", "nokeyupd", "upd"}

// String names the status as pg_waldump does.
func (s MultiXactStatus) String() string {
	if int64(s) < int64(len(multiXactStatusNames)) {
		return multiXactStatusNames[s]
	}
	return "unk"
}

// ParseMultiXactCreate reads a CREATE_ID record into dst, whose slice is reused.
func ParseMultiXactCreate(rec *Record, dst *MultiXactCreate) error {
	f := mainData(rec)
	dst.ID, dst.Offset, dst.Members = f.u32(), f.u32(), dst.Members[:0]
	for range f.count(8) {
		m := MultiXactMember{XID: f.u32(), Status: MultiXactStatus(f.u32())}
		f.failed = f.failed || m.Status > MultiXactUpdate
		dst.Members = append(dst.Members, m)
	}
	return f.done()
}

// MultiXactTruncate is what a TRUNCATE_ID record says: the multixacts and members of
// two half-open ranges go away; both may wrap.
type MultiXactTruncate struct {
	OldestMultiDB            uint32
	StartMulti, EndMulti     uint32 // EndMulti is the new oldest multixact
	StartMembers, EndMembers uint32
}

// ParseMultiXactTruncate reads a TRUNCATE_ID record.
func ParseMultiXactTruncate(rec *Record) (MultiXactTruncate, error) {
	f := mainData(rec)
	t := MultiXactTruncate{OldestMultiDB: f.u32(), StartMulti: f.u32(), EndMulti: f.u32(), StartMembers: f.u32(), EndMembers: f.u32()}
	return t, f.done()
}
