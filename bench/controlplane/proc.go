package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

var errProc = errors.New("unexpected format")

// cpu is the CPU time of a process, user and system, all its threads, also those
// that have ended (proc(5): fields 14 and 15 of stat, in ticks of 10 ms).
func (c *child) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("stat: %w", errProc)
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("stat: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// memory is a figure of the process' status in bytes: VmRSS, or VmHWM, the most
// that it ever was.
func (c *child) memory(name string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("no %s in status: %w", name, errProc)
}

// settled waits until the process has used next to no CPU for a while, and gives
// what it has used in all.
func (c *child) settled() (time.Duration, error) {
	last, err := c.cpu()
	for err == nil {
		time.Sleep(250 * time.Millisecond)
		var now time.Duration
		if now, err = c.cpu(); now-last <= 10*time.Millisecond {
			return now, err
		}
		last = now
	}
	return 0, err
}

// spent is the CPU time that something costs, until the process is at rest again.
func (c *child) spent(f func() error) (time.Duration, error) {
	before, err := c.settled()
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := c.settled()
	return after - before, err
}
