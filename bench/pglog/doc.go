// Package pglog records logs of a real PostgreSQL for the suites that take logs in: the
// same transactions, logged in each of the ways that are compared.
//
//	FPIOff   as Varve's endpoints log, by the settings that they impose: no images of pages
//	FPIOn    PostgreSQL's default
//	Plain    PostgreSQL's default, but for images of pages
//
// A [Log] is the cluster as it was stopped before the load, and the log of the load: all
// that is needed to import the one and take in the other.
//
// The promise: a log holds only the load; what initialised the tables lies before it.
package pglog
