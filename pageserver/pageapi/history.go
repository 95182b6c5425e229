package pageapi

import (
	"encoding/binary"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/wal"
)

// AppendTo appends the request to dst.
func (m CollectRequest) AppendTo(dst []byte) []byte {
	dst = appendLSN(append(dst, m.Timeline[:]...), m.Cutoff)
	if m.DryRun {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// DecodeCollect reads a Collect.
func DecodeCollect(b []byte) (m CollectRequest, err error) {
	r := reader{rest: b}
	m.Timeline, m.Cutoff = r.timeline(), r.lsn()
	dry := r.u8()
	r.failed = r.failed || dry > 1
	m.DryRun = dry == 1
	return m, r.finish("Collect")
}

// AppendCollection appends the answer to Collect to dst.
func AppendCollection(dst []byte, c lsm.Collection) []byte {
	dst = binary.LittleEndian.AppendUint32(appendLSN(dst, c.Cutoff), uint32(c.Layers))
	dst = appendCounts(dst, c.Bytes, c.Dropped)
	for _, p := range c.Pins {
		dst = appendPin(dst, p)
	}
	return dst
}

// DecodeCollection reads the answer to Collect.
func DecodeCollection(b []byte) (c lsm.Collection, err error) {
	r := reader{rest: b}
	c = lsm.Collection{Cutoff: r.lsn(), Layers: int(r.u32()), Bytes: int64(r.u64()), Dropped: int64(r.u64())}
	for r.more() {
		c.Pins = append(c.Pins, r.pin())
	}
	return c, r.finish("answer to Collect")
}

// AppendTo appends the request to dst.
func (m LeaseRequest) AppendTo(dst []byte) []byte {
	return appendLease(append(dst, m.Timeline[:]...), m.LeaseInfo)
}

// DecodeLease reads a Lease.
func DecodeLease(b []byte) (m LeaseRequest, err error) {
	r := reader{rest: b}
	m = LeaseRequest{r.timeline(), r.lease()}
	return m, r.finish("Lease")
}

// AppendRelease appends a Release.
func AppendRelease(dst []byte, id wal.TimelineID, lease lsm.LeaseID) []byte {
	return append(append(dst, id[:]...), lease[:]...)
}

// DecodeRelease reads a Release.
func DecodeRelease(b []byte) (id wal.TimelineID, lease lsm.LeaseID, err error) {
	r := reader{rest: b}
	id, lease = r.timeline(), lsm.LeaseID(r.timeline())
	return id, lease, r.finish("Release")
}

// AppendLeases appends the answer to Leases to dst.
func AppendLeases(dst []byte, leases []lsm.LeaseInfo) []byte {
	for _, l := range leases {
		dst = appendLease(dst, l)
	}
	return dst
}

// DecodeLeases reads the answer to Leases.
func DecodeLeases(b []byte) (leases []lsm.LeaseInfo, err error) {
	r := reader{rest: b}
	for r.more() {
		leases = append(leases, r.lease())
	}
	return leases, r.finish("answer to Leases")
}

func appendLease(dst []byte, l lsm.LeaseInfo) []byte {
	return appendCounts(appendLSN(append(dst, l.ID[:]...), l.LSN), l.End)
}

func (r *reader) lease() lsm.LeaseInfo {
	return lsm.LeaseInfo{ID: lsm.LeaseID(r.timeline()), LSN: r.lsn(), End: int64(r.u64())}
}

func appendPin(dst []byte, p lsm.Pin) []byte {
	return append(append(appendLSN(dst, p.LSN), p.Branch[:]...), p.Lease[:]...)
}

func (r *reader) pin() lsm.Pin {
	return lsm.Pin{LSN: r.lsn(), Branch: r.timeline(), Lease: lsm.LeaseID(r.timeline())}
}

// AppendTo appends one part of the answer to Stats to dst.
func (m Stats) AppendTo(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(append(dst, m.ID[:]...), uint32(len(m.Metrics)))
	for _, metric := range m.Metrics {
		dst = appendCounts(appendText(dst, []byte(metric.Name)), metric.Value)
	}
	return appendTexts(dst, m.Aside)
}

// DecodeStats reads the answer to Stats.
func DecodeStats(b []byte) (all []Stats, err error) {
	r := reader{rest: b}
	for r.more() {
		m := Stats{ID: r.timeline()}
		for n := r.u32(); n > 0 && !r.failed; n-- {
			m.Metrics = append(m.Metrics, Metric{Name: r.text(), Value: int64(r.u64())})
		}
		m.Aside = r.texts()
		all = append(all, m)
	}
	return all, r.finish("answer to Stats")
}
