// Package lint holds the project's own rules as tests: which folder may import
// which, what a shell may not call, how long files and functions may grow, and
// that what is exported is documented. `make lint` runs them; each failure names
// the place and the way out.
package lint
