package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/dragoman-mesh/dragoman/bench/gauge"
)

// sample is what one run of one contender showed.
type sample struct {
	Throughput float64 `json:"throughput"` // requests/s
	P50        float64 `json:"p50"`        // ms
	P99        float64 `json:"p99"`        // ms
	CPU        float64 `json:"cpu"`        // us of the proxy per request
	RSS        float64 `json:"rss"`        // MiB of the proxy after the run
}

// errLoad says that redis-benchmark did not measure what it should.
var errLoad = errors.New("redis-benchmark")

// measure puts requests through a contender.
func measure(ctx context.Context, c *contender, s shape, requests int) (sample, error) {
	before, err := c.cpu()
	if err != nil {
		return sample{}, err
	}
	got, err := benchmark(ctx, c.port, s, requests)
	if err != nil {
		return sample{}, fmt.Errorf("%s, %s: %w", c.name, s, err)
	}
	after, err := c.cpu()
	if err != nil {
		return sample{}, err
	}
	if c.proc == nil {
		return got, nil
	}
	memory, err := gauge.RSS(c.proc.PID())
	if err != nil {
		return sample{}, err
	}
	got.CPU = float64((after - before).Nanoseconds()) / 1e3 / float64(requests)
	got.RSS = float64(memory) / (1 << 20)
	return got, nil
}

// cpu is the CPU time that the contender has used; 0 without a process.
func (c *contender) cpu() (time.Duration, error) {
	if c.proc == nil {
		return 0, nil
	}
	return gauge.CPUTime(c.proc.PID())
}

func benchmark(ctx context.Context, port int, s shape, requests int) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "redis-benchmark", loadArgs(port, s, requests)...).Output()
	if ctx.Err() != nil {
		return sample{}, context.Cause(ctx)
	}
	if err != nil {
		return sample{}, fmt.Errorf("%w: %w", errLoad, err)
	}
	return parseLoad(string(out))
}

func loadArgs(port int, s shape, requests int) []string {
	args := []string{
		"-h", "127.0.0.1", "-p", strconv.Itoa(port), "--csv",
		"-c", strconv.Itoa(s.clients), "-P", strconv.Itoa(s.pipeline),
		"-n", strconv.Itoa(requests), "-r", strconv.Itoa(s.keys()), "-d", strconv.Itoa(s.size),
	}
	if s.command != "MGET" {
		return append(args, "-t", strings.ToLower(s.command))
	}
	args = append(args, "MGET")
	for range 10 {
		args = append(args, "key:__rand_int__")
	}
	return args
}

// parseLoad reads the CSV of redis-benchmark: a line of titles and one of
// numbers. An error reply of the server stands in a line before them.
func parseLoad(text string) (sample, error) {
	var table strings.Builder
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, `"`):
			table.WriteString(line)
		case strings.HasPrefix(line, "Error"):
			return sample{}, fmt.Errorf("%w: %s", errLoad, strings.TrimSpace(line))
		}
	}
	rows, err := csv.NewReader(strings.NewReader(table.String())).ReadAll()
	if err != nil {
		return sample{}, fmt.Errorf("%w: %w", errLoad, err)
	}
	if len(rows) != 2 {
		return sample{}, fmt.Errorf("%w: %d lines of CSV, want 2", errLoad, len(rows))
	}
	columns := map[string]string{}
	for i, title := range rows[0] {
		columns[title] = rows[1][i]
	}
	var s sample
	for title, to := range map[string]*float64{
		"rps": &s.Throughput, "p50_latency_ms": &s.P50, "p99_latency_ms": &s.P99,
	} {
		if *to, err = strconv.ParseFloat(columns[title], 64); err != nil {
			return sample{}, fmt.Errorf("%w: column %s: %w", errLoad, title, err)
		}
	}
	return s, nil
}

// calibrate finds how many requests keep a contender busy for about d.
func calibrate(ctx context.Context, c *contender, s shape, d time.Duration) (int, error) {
	least := 4 * s.clients * s.pipeline
	first := max(least, 2000)
	if s.size >= large {
		first = max(least, 100)
	}
	got, err := measure(ctx, c, s, first)
	if err != nil {
		return 0, err
	}
	return max(least, int(got.Throughput*d.Seconds())), nil
}
