package netloop

import (
	"syscall"
	"time"
)

const (
	saturated    = 0.9 // busy share of wall time
	saturatedFor = 3   // judgements in a row before another loop joins
	relaxed      = 0.6 // busy share of one loop less, at which one can leave
	relaxedFor   = 30  // judgements in a row before it does
)

// judge decides how many loops of a group take new connections.
type judge struct {
	most         int // loops that there are
	tight, loose int // judgements in a row for one loop more, or less
}

// next takes how long each active loop was busy, and how much CPU time the
// process got, in a time wall; and returns how many loops are to be active. A
// loop that is busy because others keep it from running needs no second one
// beside it, which would only take the CPU from it.
func (j *judge) next(busy []time.Duration, cpu, wall time.Duration) int {
	active := len(busy)
	all, sum := true, time.Duration(0)
	for _, b := range busy {
		sum += b
		all = all && float64(b) >= saturated*float64(wall)
	}
	all = all && float64(cpu) >= saturated*float64(wall)*float64(active)
	fewer := float64(sum) < relaxed*float64(wall)*float64(active-1)
	j.tight, j.loose = streak(j.tight, all), streak(j.loose, fewer)
	switch {
	case j.tight >= saturatedFor && active < j.most:
		active++
	case j.loose >= relaxedFor && active > 1:
		active--
	default:
		return active
	}
	j.tight, j.loose = 0, 0
	return active
}

func streak(n int, goesOn bool) int {
	if goesOn {
		return n + 1
	}
	return 0
}

// processCPU is the CPU time that the process has used.
func processCPU() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
