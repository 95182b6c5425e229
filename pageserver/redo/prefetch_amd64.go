package redo

// prefetch begins to load so many lines of the processor's cache, at least one, and waits
// for none. It is a hint, which faults nowhere: it reads nothing and changes nothing.
//
//go:noescape
func prefetch(from *byte, lines int)
