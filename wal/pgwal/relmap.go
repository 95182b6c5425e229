package pgwal

// OpRelMapUpdate is the one operation of RelMap records (relmapper.h).
const OpRelMapUpdate = 0x00

// RelMapSize is the size in bytes of a pg_filenode.map, its own CRC-32C included.
const RelMapSize = 512

// RelMapUpdate is what a RelMap UPDATE record says: the new pg_filenode.map of a
// database, or of the shared relations when DB is 0.
type RelMapUpdate struct {
	DB, Tablespace uint32
	Map            []byte // RelMapSize bytes; points into the record
}

// ParseRelMapUpdate reads a RelMap UPDATE record.
func ParseRelMapUpdate(rec *Record) (RelMapUpdate, error) {
	f := mainData(rec)
	u := RelMapUpdate{DB: f.u32(), Tablespace: f.u32()}
	if size := f.u32(); !f.failed && size != RelMapSize {
		return u, f.corrupt("size of the relation map", RelMapSize, size)
	}
	u.Map = f.take(RelMapSize)
	return u, f.done()
}
