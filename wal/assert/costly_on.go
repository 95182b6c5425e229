//go:build varvecostly

package assert

// Costly says whether checks that cost more than the code they guard are compiled in.
const Costly = true
