package main

import (
	"fmt"
	"regexp"
)

// shape is one kind of load.
type shape struct {
	command  string // GET, SET or MGET (of ten keys)
	clients  int
	pipeline int
	size     int  // of a value, bytes
	quick    bool // part of a quick run
}

const (
	small  = 64
	medium = 4 << 10
	large  = 256 << 10
)

// shapes are chosen from all combinations so that a full run stays below 15
// minutes: everything is varied around 64 bytes and 50 clients.
func shapes() []shape {
	return []shape{
		{"GET", 1, 1, small, false},
		{"GET", 50, 1, small, true},
		{"GET", 500, 1, small, false},
		{"GET", 50, 16, small, true},
		{"GET", 500, 16, small, false},
		{"GET", 50, 100, small, true},
		{"SET", 1, 1, small, false},
		{"SET", 50, 1, small, true},
		{"SET", 500, 1, small, false},
		{"SET", 50, 16, small, false},
		{"SET", 50, 100, small, false},
		{"MGET", 1, 1, small, false},
		{"MGET", 50, 1, small, true},
		{"MGET", 500, 1, small, false},
		{"MGET", 50, 16, small, false},
		{"GET", 50, 1, medium, true},
		{"GET", 50, 16, medium, false},
		{"SET", 50, 1, medium, false},
		{"MGET", 50, 1, medium, false},
		{"GET", 1, 1, large, false},
		{"GET", 50, 1, large, true},
		{"SET", 50, 1, large, true},
	}
}

func (s shape) String() string {
	clients := "1 client"
	if s.clients != 1 {
		clients = fmt.Sprintf("%d clients", s.clients)
	}
	return fmt.Sprintf("%s %s, %s, pipeline %d", s.command, sizeName(s.size), clients, s.pipeline)
}

func sizeName(size int) string {
	if size >= 1<<10 {
		return fmt.Sprintf("%d KiB", size>>10)
	}
	return fmt.Sprintf("%d B", size)
}

// keys is how many keys a shape uses: enough for all shards, little enough for
// the values to fit into memory.
func (s shape) keys() int {
	if s.size >= large {
		return 100
	}
	return 1000
}

// selectShapes returns the shapes of a run in the order in which they need the
// fewest fills.
func selectShapes(filter *regexp.Regexp, quick bool) []shape {
	var out []shape
	for _, s := range shapes() {
		if filter.MatchString(s.String()) && (s.quick || !quick) {
			out = append(out, s)
		}
	}
	return out
}

// goals of a shape as ratios of dragoman to nutcracker; 0 where there is none.
type goals struct {
	throughput float64 // at least
	cpu        float64 // at most, CPU per request
	cpuTuned   float64 // at most, CPU per request against the tuned nutcracker
	p99        float64 // at most
}

// goals of the project: by pipeline; of their own for large values; MGET over
// shards at half of nutcracker's CPU or less.
func (s shape) goals() goals {
	var g goals
	switch {
	case s.size >= large:
		g = goals{throughput: 1, cpu: 1}
	case s.pipeline >= 100:
		g = goals{throughput: 4, cpu: 0.1, cpuTuned: 0.2}
	case s.pipeline >= 16:
		g = goals{throughput: 1.9, cpu: 0.3, cpuTuned: 0.45}
	default:
		g = goals{throughput: 1.05, cpu: 0.8, cpuTuned: 0.9}
	}
	if s.command == "MGET" {
		g.cpu = min(g.cpu, 0.5)
	}
	g.p99 = 1
	return g
}
