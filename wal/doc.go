// Package wal is the ground floor: the words that every other package shares.
//
// A position in a log is an [LSN]. A log belongs to a timeline ([TimelineID]) of
// a tenant ([TenantID]). Writers of a log are fenced by [Term]; pageservers that
// attach a timeline are fenced by [Generation]. Bytes that fail a check become a
// [CorruptionError], which matches [ErrCorruption] and says where, what was
// wanted and what was found.
//
// The packages below this one hold the log itself: its ground (env), PostgreSQL's
// record format (pgwal), segments on disk (segment), agreement on them (quorum),
// and the servers and clients around it (walapi, safekeeper, proposer).
package wal
