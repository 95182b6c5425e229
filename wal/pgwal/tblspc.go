package pgwal

// The operations of Tablespace records (tablespace.h).
const (
	OpTablespaceCreate = 0x00
	OpTablespaceDrop   = 0x10
)

// TablespaceCreate is what a Tablespace CREATE record says.
type TablespaceCreate struct {
	ID   uint32
	Path string // where the link in pg_tblspc leads
}

// ParseTablespaceCreate reads a Tablespace CREATE record.
func ParseTablespaceCreate(rec *Record) (TablespaceCreate, error) {
	f := mainData(rec)
	t := TablespaceCreate{ID: f.u32(), Path: f.cstring()}
	return t, f.done()
}

// ParseTablespaceDrop reads a Tablespace DROP record: the tablespace that is gone.
func ParseTablespaceDrop(rec *Record) (id uint32, err error) {
	f := mainData(rec)
	id = f.u32()
	return id, f.done()
}
