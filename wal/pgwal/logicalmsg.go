package pgwal

// OpLogicalMessage is the one operation of LogicalMessage records (message.h).
const OpLogicalMessage = 0x00

// LogicalMessage is what pg_logical_emit_message wrote.
type LogicalMessage struct {
	DB            uint32
	Transactional bool
	Prefix        string
	Message       []byte // points into the record
}

// ParseLogicalMessage reads a LogicalMessage MESSAGE record.
func ParseLogicalMessage(rec *Record) (LogicalMessage, error) {
	f := mainData(rec)
	m := LogicalMessage{DB: f.u32(), Transactional: f.boolean()}
	f.take(3) // padding
	prefixSize, messageSize := f.u64(), f.u64()
	m.Prefix = f.cstring()
	if !f.failed && uint64(len(m.Prefix))+1 != prefixSize {
		return m, f.corrupt("length of the prefix", len(m.Prefix)+1, prefixSize)
	}
	m.Message = f.rest()
	if uint64(len(m.Message)) != messageSize {
		f.failed = true
	}
	return m, f.done()
}
