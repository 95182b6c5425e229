// Package travel measures reads of the past and of deep branches, and how a moment is
// found.
package travel
