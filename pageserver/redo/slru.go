package redo

import (
	"encoding/binary"

	"github.com/varvedb/varve/pageserver/pgkey"
)

// Layouts of the SLRU pages, beside the numbers in package pgkey.
const (
	xactBits          = 2
	xactsPerByte      = 4
	memberGroupBytes  = 20
	membersPerGroup   = 4
	commitTsBytes     = 10
	memberStatusBytes = 5
)

func setXactStatus(page []byte, block uint32, body []byte) error {
	if len(body) < 1 || (len(body)-1)%4 != 0 {
		return corrupt("length of xact status", "1 + 4n", len(body))
	}
	status := body[0]
	if status > 3 {
		return corrupt("xact status", "0..3", status)
	}
	for xids := body[1:]; len(xids) > 0; xids = xids[4:] {
		xid := binary.LittleEndian.Uint32(xids)
		if got := pgkey.XactPage(xid); got != block {
			return corrupt("page of a transaction's status", block, got)
		}
		at := xid % pgkey.XactsPerPage
		shift := at % xactsPerByte * xactBits
		cell := &page[at/xactsPerByte]
		*cell = *cell&^(3<<shift) | status<<shift
	}
	return nil
}

func setMultiOffset(page []byte, block uint32, body []byte) error {
	if len(body) != 8 {
		return corrupt("length of multi offset", 8, len(body))
	}
	multi := binary.LittleEndian.Uint32(body)
	if got := pgkey.MultiOffsetPage(multi); got != block {
		return corrupt("page of a multixact's offset", block, got)
	}
	copy(page[multi%pgkey.MultiOffsetsPerPage*4:][:4], body[4:])
	return nil
}

func setMultiMembers(page []byte, block uint32, body []byte) error {
	if len(body) < 4 || (len(body)-4)%memberStatusBytes != 0 {
		return corrupt("length of multi members", "4 + 5n", len(body))
	}
	offset := binary.LittleEndian.Uint32(body)
	for members := body[4:]; len(members) > 0; members = members[memberStatusBytes:] {
		if got := pgkey.MultiMemberPage(offset); got != block {
			return corrupt("page of a multixact's member", block, got)
		}
		at := offset % pgkey.MultiMembersPerPage
		group := page[at/membersPerGroup*memberGroupBytes:]
		group[at%membersPerGroup] = members[4]
		copy(group[4+at%membersPerGroup*4:][:4], members[:4])
		offset++
	}
	return nil
}

func setCommitTs(page []byte, block uint32, body []byte) error {
	if len(body) < commitTsBytes || (len(body)-commitTsBytes)%4 != 0 {
		return corrupt("length of commit time", "10 + 4n", len(body))
	}
	for xids := body[commitTsBytes:]; len(xids) > 0; xids = xids[4:] {
		xid := binary.LittleEndian.Uint32(xids)
		if got := pgkey.CommitTsPage(xid); got != block {
			return corrupt("page of a transaction's commit time", block, got)
		}
		copy(page[xid%pgkey.CommitTsPerPage*commitTsBytes:], body[:commitTsBytes])
	}
	return nil
}
