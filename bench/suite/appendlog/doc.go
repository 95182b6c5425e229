// Package appendlog measures how the log is appended to and committed: on one node
// against other logs, and on three safekeepers against the floor (the second of three
// plain files) and etcd.
package appendlog
