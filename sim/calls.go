package sim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/varvedb/varve/sim/world"
)

// Roles are the kinds of nodes at which a storm blows.
var Roles = []string{"safekeeper", "pageserver", "compute"}

// CallKind is a kind of call of Env, made by nodes of a role.
type CallKind struct {
	Role string
	Kind world.CallKind
}

// CallCounts counts calls by kind.
type CallCounts map[CallKind]uint64

// role is what a node is; empty for the operators'.
func (c *cluster) role(n *world.Node) string {
	switch {
	case slices.Contains(c.safekeepers, n):
		return Roles[0]
	case slices.Contains(c.pageservers, n):
		return Roles[1]
	case slices.ContainsFunc(c.slots, func(s *slot) bool { return s.node == n }):
		return Roles[2]
	}
	return ""
}

// calls counts the calls of the storm.
func (c *cluster) calls() CallCounts {
	counts := CallCounts{}
	for _, n := range c.nodes() {
		for _, kind := range world.CallKinds() {
			if calls := n.StormCalls(kind); calls > 0 {
				counts[CallKind{c.role(n), kind}] += calls
			}
		}
	}
	return counts
}

// CallTable says, for each kind of call and each role, how often it was made in a history
// and at how many points, before such calls and after them, a node fell in turn.
func CallTable(made, fell CallCounts) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-16s", "calls / points")
	for _, role := range Roles {
		fmt.Fprintf(&b, " %16s", role)
	}
	b.WriteByte('\n')
	line := func(name string, of func(role string) (calls, points uint64)) {
		fmt.Fprintf(&b, "%-16s", name)
		for _, role := range Roles {
			cell := "-"
			if calls, points := of(role); calls > 0 {
				cell = fmt.Sprintf("%d / %d", calls, points)
			}
			fmt.Fprintf(&b, " %16s", cell)
		}
		b.WriteByte('\n')
	}
	for _, kind := range world.CallKinds() {
		line(kind.String(), func(role string) (uint64, uint64) {
			k := CallKind{role, kind}
			return made[k], fell[k]
		})
	}
	line("all", func(role string) (calls, points uint64) {
		for _, kind := range world.CallKinds() {
			k := CallKind{role, kind}
			calls, points = calls+made[k], points+fell[k]
		}
		return calls, points
	})
	return b.String()
}
