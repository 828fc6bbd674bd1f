package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// delivered is the proxy as it is delivered, built once for the whole test binary: with the race detector it takes memory that users do not
// pay for.
var delivered struct {
	once sync.Once
	dir  string
	err  error
}

// deliver is launch for the proxy as it is delivered.
func deliver(t *testing.T, env []string, args ...string) *Proxy {
	t.Helper()
	delivered.once.Do(func() { delivered.dir, delivered.err = buildDelivered() })
	if delivered.err != nil {
		t.Fatal(delivered.err)
	}
	return launchBinary(t, filepath.Join(delivered.dir, "proxy"), env, args...)
}

func buildDelivered() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "e2e"); err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-trimpath", "-tags", "grpcnotrace", "-o", dir, "./cmd/proxy")
	cmd.Dir, cmd.Env = filepath.Join("..", ".."), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("%v: %w\n%s", cmd, err, out)
	}
	return dir, nil
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
