package redistest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Debian's packages for the programs that tests start.
var packages = map[string]string{
	"redis-server":    "redis-server",
	"redis-sentinel":  "redis-sentinel",
	"redis-cli":       "redis-tools",
	"redis-benchmark": "redis-tools",
	"nutcracker":      "nutcracker",
	"haproxy":         "haproxy",
	"node":            "nodejs",
	"npm":             "npm",
}

var errExited = errors.New("process has exited")

// Process is one program that a test started. Its methods may be called from any goroutine.
type Process struct {
	// Read-only after construction.
	tb   TB
	bin  string
	args []string
	dir  string

	mu   sync.Mutex // guards what follows
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has been waited for
}

// Binary returns the path of a program that tests need, and fails the test with what to install when it is missing.
func Binary(tb TB, name string) string {
	tb.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	pkg := packages[filepath.Base(name)]
	if pkg == "" {
		pkg = name
	}
	tb.Fatalf("this test needs %s: install it (Debian: apt-get install %s; or run hack/install-test-servers.sh)", name, pkg)
	return ""
}

// Run starts a program, found as Binary finds it, and kills it when the test ends. What it prints goes to Output, and to the test's log
// when the test has failed. Run does not wait until the program is ready.
func Run(tb TB, name string, args ...string) *Process {
	tb.Helper()
	p := newProcess(tb, name, args...)
	if err := p.start(); err != nil {
		tb.Fatalf("%v", err)
	}
	return p
}

// newProcess prepares a program and its working directory, and starts nothing yet.
func newProcess(tb TB, name string, args ...string) *Process {
	tb.Helper()
	bin := Binary(tb, name)
	// Not t.TempDir: its path, made of the test's name, soon exceeds the 107 bytes that a unix socket's path may have.
	dir, err := os.MkdirTemp("", "rt")
	if err != nil {
		tb.Fatalf("making a directory for %s: %v", name, err)
	}
	p := &Process{tb: tb, bin: bin, args: args, dir: dir}
	tb.Cleanup(func() {
		p.Kill()
		if f, ok := tb.(interface{ Failed() bool }); ok && f.Failed() {
			tb.Logf("output of %s:\n%s", filepath.Base(bin), tail(p.Output(), 4096))
		}
		_ = os.RemoveAll(dir)
	})
	return p
}

// Dir is the program's working directory; it is removed when the test ends.
func (p *Process) Dir() string { return p.dir }

// Pid returns the process id of the latest start, also when that process is gone.
func (p *Process) Pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

// Done is closed when the process of the latest start has ended.
func (p *Process) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// ExitCode returns the exit code of an ended process, -1 for one that was ended by a signal or still runs.
func (p *Process) ExitCode() int {
	<-p.Done()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.ProcessState.ExitCode()
}

// Output returns what the program printed so far, over all its starts, standard output and error as they came.
func (p *Process) Output() []byte {
	out, err := os.ReadFile(p.outputPath())
	if err != nil {
		return nil
	}
	return out
}

// Kill ends the process with SIGKILL and waits until it is gone. It does nothing to a process that is not running.
func (p *Process) Kill() {
	p.mu.Lock()
	done := p.done
	p.mu.Unlock()
	if done == nil {
		return
	}
	_ = p.Signal(syscall.SIGKILL)
	<-done
}

// Signal sends a signal to the process. The error is os.ErrProcessDone when it is gone.
func (p *Process) Signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Signal(sig)
}

// Freeze stops the process with SIGSTOP: its sockets stay open, the kernel goes on accepting for it, and nothing answers. It returns when
// the process stands still.
func (p *Process) Freeze() {
	p.tb.Helper()
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		p.tb.Fatalf("freezing %s: %v", filepath.Base(p.bin), err)
	}
	Eventually(p.tb, 5*time.Second, "the process to stand still", func() error {
		state, err := p.state()
		if err == nil && state != 'T' {
			err = fmt.Errorf("process is in state %c", state)
		}
		return err
	})
}

// Thaw lets a frozen process go on.
func (p *Process) Thaw() {
	p.tb.Helper()
	if err := p.Signal(syscall.SIGCONT); err != nil {
		p.tb.Fatalf("thawing %s: %v", filepath.Base(p.bin), err)
	}
}

// start runs the program on a thread of its own that lives as long as the program does: PDEATHSIG fires when the starting thread ends.
func (p *Process) start() error {
	out, err := os.OpenFile(p.outputPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the output of %s: %w", p.bin, err)
	}
	cmd := exec.Command(p.bin, p.args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, done := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(done)
		defer out.Close()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // the exit code is in cmd.ProcessState
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("starting %s: %w", p.bin, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cmd, p.done = cmd, done
	return nil
}

// waitReady polls until ready returns nil. It gives up at once when the process ends.
func (p *Process) waitReady(limit time.Duration, ready func() error) error {
	var exited error
	err := poll(limit, func() error {
		select {
		case <-p.Done():
			exited = fmt.Errorf("%s: %w; it printed:\n%s", p.bin, errExited, tail(p.Output(), 4096))
			return nil
		default:
			return ready()
		}
	})
	if exited != nil {
		return exited
	}
	if err != nil {
		return fmt.Errorf("waiting for %s: %w; it printed:\n%s", p.bin, err, tail(p.Output(), 4096))
	}
	return nil
}

// state returns the letter of /proc/PID/stat that tells whether the process runs (R), sleeps (S) or is stopped (T).
func (p *Process) state() (byte, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid()))
	if err != nil {
		return 0, err
	}
	// The second field is the program's name in parentheses, and may itself contain any character.
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 || end+2 >= len(stat) {
		return 0, fmt.Errorf("reading /proc/%d/stat: malformed", p.Pid())
	}
	return stat[end+2], nil
}

func (p *Process) outputPath() string { return filepath.Join(p.dir, "output.log") }

// tail returns the last n bytes of b.
func tail(b []byte, n int) []byte {
	if len(b) > n {
		b = b[len(b)-n:]
	}
	return b
}
