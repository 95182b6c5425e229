package pgwal

// OpSequenceLog is the one operation of Sequence records (sequence.h).
const OpSequenceLog = 0x00

// SequenceLog is what a Sequence LOG record says: the sequence's only page, block 0 of
// Rel, is rebuilt around this tuple.
type SequenceLog struct {
	Rel   RelFileNode
	Tuple []byte // a whole heap tuple, header included; points into the record
}

// ParseSequenceLog reads a Sequence LOG record.
func ParseSequenceLog(rec *Record) (SequenceLog, error) {
	f := mainData(rec)
	s := SequenceLog{Rel: f.rel(), Tuple: f.rest()}
	return s, f.done()
}
