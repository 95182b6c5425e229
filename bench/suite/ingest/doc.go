// Package ingest measures how log is decoded and taken in: decoder against pg_waldump,
// the whole way into a durable layer against PostgreSQL's redo, and the store alone
// against Pebble.
package ingest
