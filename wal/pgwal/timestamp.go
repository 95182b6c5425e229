package pgwal

import (
	"fmt"
	"time"
)

// Timestamp is PostgreSQL's TimestampTz: microseconds since 2000-01-01 00:00 UTC.
type Timestamp int64

// epochUnix is 2000-01-01 00:00 UTC in seconds since 1970.
const epochUnix = 946684800

const microsPerSecond = 1_000_000

// TimestampOf converts a time, cutting it to the microsecond.
func TimestampOf(t time.Time) Timestamp {
	return Timestamp((t.Unix()-epochUnix)*microsPerSecond + int64(t.Nanosecond()/1000))
}

// Time converts to a time in UTC.
func (ts Timestamp) Time() time.Time {
	return time.Unix(epochUnix+int64(ts)/microsPerSecond, int64(ts)%microsPerSecond*1000).UTC()
}

// appendTo renders the timestamp as pg_waldump does in time zone UTC. Before 2000
// it shares pg_waldump's quirk: seconds and microseconds are cut towards zero each
// on its own.
func (ts Timestamp) appendTo(dst []byte) []byte {
	seconds := time.Unix(epochUnix+int64(ts)/microsPerSecond, 0).UTC()
	dst = seconds.AppendFormat(dst, "2006-01-02 15:04:05")
	return fmt.Appendf(dst, ".%06d UTC", int64(ts)%microsPerSecond)
}
