package gauge

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// errProcFormat says that a file of /proc does not look as documented in
// proc(5).
var errProcFormat = errors.New("unexpected format")

// CPUTime is the CPU time that a process has used so far, all threads together:
// in nanoseconds from schedstat where the kernel keeps that, else in ticks of
// 10 ms from stat. A thread that ends takes its schedstat with it; the
// contenders keep theirs.
func CPUTime(pid int) (time.Duration, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		d, err := parseSchedstat(string(text))
		if err != nil {
			return 0, fmt.Errorf("reading %q: %w", task, err)
		}
		sum += d
	}
	if sum > 0 {
		return sum, nil
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseStat(string(text))
}

// parseSchedstat reads the first of three numbers: time on the CPU in ns.
func parseSchedstat(text string) (time.Duration, error) {
	fields := strings.Fields(text)
	if len(fields) != 3 {
		return 0, fmt.Errorf("schedstat: %w", errProcFormat)
	}
	ns, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("schedstat: %w", err)
	}
	return time.Duration(ns), nil
}

// parseStat adds utime and stime (fields 14 and 15). The name, field 2, may
// hold blanks and parentheses, so fields are counted from the last ')'.
func parseStat(text string) (time.Duration, error) {
	const (
		tick  = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on
		utime = 14 - 3                // the first field after the name is number 3
		stime = 15 - 3
	)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) <= stime {
		return 0, fmt.Errorf("stat: %w", errProcFormat)
	}
	var sum int64
	for _, f := range []string{fields[utime], fields[stime]} {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("stat: %w", err)
		}
		sum += n
	}
	return time.Duration(sum) * tick, nil
}

// RSS is the resident memory of a process in bytes.
func RSS(pid int) (int64, error) { return status(pid, "VmRSS") }

// OwnMemory is the part of it that is no file's, in bytes: without the pages of
// the program, which the kernel shares and takes back as it likes.
func OwnMemory(pid int) (int64, error) { return status(pid, "RssAnon") }

func status(pid int, name string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	return parseStatus(string(text), name)
}

// parseStatus reads a line "name:  123 kB" and returns bytes.
func parseStatus(text, name string) (int64, error) {
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, name+":")
		if !ok {
			continue
		}
		kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s in status: %w", name, err)
		}
		return kb << 10, nil
	}
	return 0, fmt.Errorf("no %s in status: %w", name, errProcFormat)
}
