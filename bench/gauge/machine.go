package gauge

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
)

// RaiseFileLimit makes room for many connections. Setting the limit explicitly
// also hands it down to the servers that are started later; by default Go gives
// them the old one back.
func RaiseFileLimit() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}

// Version is the first line that a program says of itself, as far as its
// number.
func Version(program, flag string) string {
	out, err := exec.Command(program, flag).CombinedOutput()
	if err != nil && len(out) == 0 {
		return "no " + program
	}
	for word := range strings.FieldsSeq(string(out)) {
		number := strings.TrimPrefix(strings.TrimPrefix(word, "v="), "nutcracker-")
		if strings.Count(number, ".") >= 2 && number[0] >= '0' && number[0] <= '9' {
			return program + " " + number
		}
	}
	return program
}

// CPUModel is what the kernel calls the processor.
func CPUModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
