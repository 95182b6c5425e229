package pgkey

// How PostgreSQL 15 lays facts on the 8192-byte pages of its SLRUs.
const (
	// XactsPerPage: two bits for each transaction.
	XactsPerPage = 8192 * 4
	// MultiOffsetsPerPage: four bytes for each multixact.
	MultiOffsetsPerPage = 8192 / 4
	// MultiMembersPerPage: groups of four members, 20 bytes a group (four flag
	// bytes, then four transaction ids), 12 bytes at the page's end unused.
	MultiMembersPerPage = 8192 / 20 * 4
	// CommitTsPerPage: ten bytes for each transaction (time, origin), two bytes
	// at the page's end unused.
	CommitTsPerPage = 8192 / 10
)

// XactPage is the page of [Xact] that holds a transaction's status.
func XactPage(xid uint32) uint32 { return xid / XactsPerPage }

// MultiOffsetPage is the page of [MultiXactOffsets] that holds a multixact's offset.
func MultiOffsetPage(multi uint32) uint32 { return multi / MultiOffsetsPerPage }

// MultiMemberPage is the page of [MultiXactMembers] that holds the member at an offset.
func MultiMemberPage(offset uint32) uint32 { return offset / MultiMembersPerPage }

// CommitTsPage is the page of [CommitTs] that holds a transaction's commit time.
func CommitTsPage(xid uint32) uint32 { return xid / CommitTsPerPage }
