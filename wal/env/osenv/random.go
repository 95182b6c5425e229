package osenv

import "crypto/rand"

func seedFromSystem() (seed [32]byte) {
	// crypto/rand.Read never returns an error: the process dies if the system
	// has no randomness to give.
	rand.Read(seed[:])
	return seed
}
