package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/meshtest"
)

// deliver is launch for the proxy as it is delivered: with the race detector it takes memory that users do not pay for.
func deliver(t *testing.T, env []string, args ...string) *Proxy {
	t.Helper()
	return launchBinary(t, meshtest.Delivered.Binary(t, "proxy"), env, args...)
}

// memory is one of the sizes in the status of the proxy's process, in bytes: VmRSS is what it has now, VmHWM the most that it has had.
func (p *Proxy) memory(what string) int64 {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid()))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kB int64
		if size, ok := strings.CutPrefix(line, what+":"); ok {
			if _, err := fmt.Sscanf(strings.TrimSpace(size), "%d kB", &kB); err != nil {
				p.t.Fatalf("%s: %v", line, err)
			}
			return kB << 10
		}
	}
	p.t.Fatalf("no %s in\n%s", what, status)
	return 0
}

// descriptors is how many files a process may have open here.
func descriptors(t *testing.T) int {
	t.Helper()
	limits, err := os.ReadFile("/proc/self/limits")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(limits)) {
		if rest, ok := strings.CutPrefix(line, "Max open files"); ok {
			var soft, hard int
			if _, err := fmt.Sscan(rest, &soft, &hard); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			return hard
		}
	}
	t.Fatalf("no limit of open files in\n%s", limits)
	return 0
}
