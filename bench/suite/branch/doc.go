// Package branch measures what making a branch costs, and of what it does not depend.
package branch
