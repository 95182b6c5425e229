// Package paths holds benchmarks of the main paths for go test and benchstat: quick to
// run while one path is being worked on, and easy to profile.
//
//	go test -bench . -count 10 ./bench/paths > old.txt
//	go test -bench GetPage -cpuprofile cpu.out ./bench/paths
//
// They are no claims: there is no peer and no canary in them. Those are in the suites.
package paths
