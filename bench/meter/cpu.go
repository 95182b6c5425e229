package meter

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Self is the CPU time that this process has used, user and system.
func Self() time.Duration { return rusage(unix.RUSAGE_SELF) }

// Children is the CPU time of this process's children that have ended and were waited for.
func Children() time.Duration { return rusage(unix.RUSAGE_CHILDREN) }

func rusage(who int) time.Duration {
	var u unix.Rusage
	// It fails on a bad argument only.
	_ = unix.Getrusage(who, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// tick is the kernel's USER_HZ, which is 100 on every architecture that Go runs Linux on.
const tick = 10 * time.Millisecond

// Tree is the CPU time that processes, all that descend from them, and the children that
// any of these has waited for, have used. A process that ends without being waited for
// by one of them takes its time with it.
func Tree(roots ...int) (time.Duration, error) {
	parents, used, err := processes()
	if err != nil {
		return 0, err
	}
	return sumOf(parents, used, roots...), nil
}

func sumOf(parents map[int]int, used map[int]time.Duration, roots ...int) (total time.Duration) {
	inTree := map[int]bool{}
	for _, root := range roots {
		inTree[root] = true
	}
	for pid := range parents {
		if descends(pid, parents, inTree) {
			total += used[pid]
		}
	}
	return total
}

// kernelThreads is the process that all of the kernel's own threads descend from.
const kernelThreads = 2

// Machine is the time that all cores together have had, and what of it others used: no
// process of ours, which are this one and all that descend from it, and no thread of the
// kernel, which may work for us.
func Machine() (all, others time.Duration, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, fmt.Errorf("read the machine's CPU time: %w", err)
	}
	all, busy, ok := parseMachine(text)
	if !ok {
		return 0, 0, fmt.Errorf("read the machine's CPU time: %q", bytes.SplitN(text, []byte("\n"), 2)[0])
	}
	parents, used, err := processes()
	if err != nil {
		return 0, 0, err
	}
	return all, busy - sumOf(parents, used, os.Getpid(), kernelThreads), nil
}

// parseMachine reads the first line of /proc/stat: user, nice, system, idle, waiting for
// disks, interrupts, soft interrupts, stolen. Interrupts are nobody's.
func parseMachine(text []byte) (all, busy time.Duration, ok bool) {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 9 || string(fields[0]) != "cpu" {
		return 0, 0, false
	}
	for i, field := range fields[1:9] {
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, 0, false
		}
		all += time.Duration(n) * tick
		if i < 3 {
			busy += time.Duration(n) * tick
		}
	}
	return all, busy, true
}

// descends walks from a process to its ancestors.
func descends(pid int, parents map[int]int, roots map[int]bool) bool {
	for ; pid > 1; pid = parents[pid] {
		if roots[pid] {
			return true
		}
	}
	return false
}

// processes reads every process's parent and CPU time from /proc.
func processes() (parents map[int]int, used map[int]time.Duration, err error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, nil, fmt.Errorf("list processes: %w", err)
	}
	parents, used = map[int]int{}, map[int]time.Duration{}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue // It has ended meanwhile.
		}
		if parent, ticks, ok := parseStat(stat); ok {
			parents[pid], used[pid] = parent, time.Duration(ticks)*tick
		}
	}
	return parents, used, nil
}

// parseStat reads a line of /proc/PID/stat: the parent is the second field after the
// name, which stands in parentheses and may hold anything; times are fields 12 to 15.
func parseStat(stat []byte) (parent int, ticks int64, ok bool) {
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, 0, false
	}
	fields := bytes.Fields(stat[end+1:])
	if len(fields) < 15 {
		return 0, 0, false
	}
	parent, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return 0, 0, false
	}
	for _, field := range fields[11:15] { // user, system, and both of waited-for children
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, 0, false
		}
		ticks += n
	}
	return parent, ticks, true
}
