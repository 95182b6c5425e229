// Package compute and the packages below it run PostgreSQL on Varve's storage:
// what a data directory is (pgdata) and the life of one PostgreSQL (endpoint).
package compute
