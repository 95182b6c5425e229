package pgwal

// The operations of Database records (dbcommands_xlog.h).
const (
	OpDatabaseCreateFileCopy = 0x00
	OpDatabaseCreateWALLog   = 0x10
	OpDatabaseDrop           = 0x20
)

// DatabaseCopy is what a CREATE_FILE_COPY record says: a database's directory in a
// tablespace is, from here on, a copy of another one as of this record.
type DatabaseCopy struct {
	DB, Tablespace             uint32
	SourceDB, SourceTablespace uint32
}

// ParseDatabaseCopy reads a CREATE_FILE_COPY record.
func ParseDatabaseCopy(rec *Record) (DatabaseCopy, error) {
	f := mainData(rec)
	d := DatabaseCopy{DB: f.u32(), Tablespace: f.u32(), SourceDB: f.u32(), SourceTablespace: f.u32()}
	return d, f.done()
}

// DatabaseCreate is what a CREATE_WAL_LOG record says: a database's directory and its
// PG_VERSION exist; relations and the map follow in records of their own.
type DatabaseCreate struct{ DB, Tablespace uint32 }

// ParseDatabaseCreate reads a CREATE_WAL_LOG record.
func ParseDatabaseCreate(rec *Record) (DatabaseCreate, error) {
	f := mainData(rec)
	d := DatabaseCreate{DB: f.u32(), Tablespace: f.u32()}
	return d, f.done()
}

// DatabaseDrop is what a DROP record says: a database's directories in these
// tablespaces are gone.
type DatabaseDrop struct {
	DB          uint32
	Tablespaces []uint32
}

// ParseDatabaseDrop reads a Database DROP record.
func ParseDatabaseDrop(rec *Record) (DatabaseDrop, error) {
	f := mainData(rec)
	d := DatabaseDrop{DB: f.u32()}
	d.Tablespaces = f.xids(nil, f.count(4))
	return d, f.done()
}
