package netloop

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// usableCPUs returns how many CPUs the process can keep busy: those it may run
// on, but no more than the control group's quota allows in full. GOMAXPROCS is
// not that number: the runtime rounds the quota up, and to two at least.
func usableCPUs() int {
	n := runtime.NumCPU()
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return n
	}
	for _, dir := range groupDirs(string(own)) {
		b, err := os.ReadFile(filepath.Join(dir, "cpu.max"))
		if err != nil {
			continue
		}
		if q := quotaCPUs(string(b)); q > 0 {
			n = min(n, q)
		}
	}
	return n
}

// groupDirs returns the directories of a process's control group (version 2)
// and its ancestors, given /proc/self/cgroup.
func groupDirs(own string) []string {
	const root = "/sys/fs/cgroup"
	for line := range strings.Lines(own) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		var dirs []string
		for path = filepath.Clean("/" + path); path != "/"; path = filepath.Dir(path) {
			dirs = append(dirs, filepath.Join(root, path))
		}
		return append(dirs, root)
	}
	return nil
}

// quotaCPUs reads a cpu.max, "quota period" in microseconds: whole CPUs, at
// least one; 0 if there is no quota.
func quotaCPUs(s string) int {
	f := strings.Fields(s)
	if len(f) != 2 || f[0] == "max" {
		return 0
	}
	quota, err1 := strconv.Atoi(f[0])
	period, err2 := strconv.Atoi(f[1])
	if err1 != nil || err2 != nil || period <= 0 {
		return 0
	}
	return max(quota/period, 1)
}
