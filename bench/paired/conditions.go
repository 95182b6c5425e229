package paired

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/varvedb/varve/bench/meter"
)

// Conditions is what else went on in the machine during a round.
type Conditions struct {
	Load1       float64 `json:"load_1min"`           // runnable tasks
	CPUPressure float64 `json:"cpu_pressure_10s"`    // percent of time in which some task waited
	IOPressure  float64 `json:"io_pressure_10s"`     //
	OthersShare float64 `json:"others_cpu_share"`    // of all cores' time during the round, used by processes that are not ours; absent in older files
	StolenTicks uint64  `json:"stolen_ticks"`        // by the host, during the round
	GCs         uint32  `json:"garbage_collections"` // of this process, during the round
	begunStolen uint64
	begunGCs    uint32
	begunAll    time.Duration
	begunOthers time.Duration
}

// ConditionsNow reads the conditions at the beginning of a round. What the machine does
// not tell is 0.
func ConditionsNow() Conditions {
	c := Conditions{begunStolen: stolenTicks(), begunGCs: collections()}
	if fields := strings.Fields(read("/proc/loadavg")); len(fields) > 0 {
		c.Load1, _ = strconv.ParseFloat(fields[0], 64)
	}
	c.begunAll, c.begunOthers, _ = meter.Machine()
	c.CPUPressure, c.IOPressure = pressure(read("/proc/pressure/cpu")), pressure(read("/proc/pressure/io"))
	return c
}

func (c *Conditions) finish() {
	c.StolenTicks, c.GCs = stolenTicks()-c.begunStolen, collections()-c.begunGCs
	all, others, err := meter.Machine()
	if err == nil {
		c.OthersShare = share(others-c.begunOthers, all-c.begunAll)
	}
}

// shareMin is how much time of all cores together must have passed for a share of it to
// mean anything: the kernel counts in hundredths of a second.
const shareMin = time.Second

// share is what others used of all time. Both are differences of figures that are exact
// to some ticks each; of too short a time it is 0.
func share(others, all time.Duration) float64 {
	if all < shareMin {
		return 0
	}
	return max(0, float64(others)/float64(all))
}

func collections() uint32 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.NumGC
}

func read(path string) string {
	text, _ := os.ReadFile(path)
	return string(text)
}

// pressure reads avg10 of the line "some avg10=0.00 avg60=...".
func pressure(text string) float64 {
	_, rest, ok := strings.Cut(text, "some avg10=")
	if !ok {
		return 0
	}
	number, _, _ := strings.Cut(rest, " ")
	percent, _ := strconv.ParseFloat(number, 64)
	return percent
}

// stolenTicks reads the eighth number of /proc/stat's first line.
func stolenTicks() uint64 {
	fields := strings.Fields(read("/proc/stat"))
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0
	}
	ticks, _ := strconv.ParseUint(fields[8], 10, 64)
	return ticks
}
