package kubetest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

var suite Suite

// runVariable makes this test binary run something else than its tests, for tests of Main.
const runVariable = "KUBETEST_RUN"

func TestMain(m *testing.M) {
	switch os.Getenv(runVariable) {
	case "seven":
		os.Exit(suite.Main(runner(func() int { return 7 })))
	case "crash":
		os.Exit(suite.Main(runner(crash)))
	}
	os.Exit(suite.Main(m))
}

type runner func() int

func (r runner) Run() int { return r() }

// crash starts an API server, says which process it is, and ends without cleaning up.
func crash() int {
	life := &lifetime{}
	fmt.Printf("pid=%d\n", suite.Server(life).process().Pid())
	panic("a test crashes")
}

// runMain runs this test binary with temporary files in dir and with further variables; with isolatedVariable empty, as `go test` does.
func runMain(t *testing.T, what, dir string, env ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), append(env, runVariable+"="+what, "TMPDIR="+dir)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestMainReturnsTheExitCode(t *testing.T) {
	t.Parallel()
	for _, env := range []string{isolatedVariable + "=", isolatedVariable + "=1"} {
		out, err := runMain(t, "seven", t.TempDir(), env)
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 7 {
			t.Errorf("%s: got %v, want exit status 7; it printed:\n%s", env, err, out)
		}
	}
}

func TestCrashLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	out, err := runMain(t, "crash", dir, isolatedVariable+"=")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(out, "a test crashes") {
		t.Fatalf("got %v, want a panic; it printed:\n%s", err, out)
	}
	_, after, _ := strings.Cut(out, "pid=")
	digits, _, _ := strings.Cut(after, "\n")
	pid, err := strconv.Atoi(digits)
	if err != nil {
		t.Fatalf("no process id in:\n%s", out)
	}
	redistest.Eventually(t, callLimit, "the end of the API server", func() error {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("process %d: %w", pid, errAlive)
		}
		return nil
	})
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

var errAlive = errors.New("it is alive")

func TestMissingServerIsAFailureThatSaysWhatToDo(t *testing.T) {
	t.Parallel()
	if _, err := binaryIn(t.TempDir()); err == nil || !strings.Contains(err.Error(), "make kubeapi") {
		t.Errorf("got %v", err)
	}
	idle := &Suite{life: &lifetime{}}
	want := errors.New("no server")
	idle.failure = want
	for range 2 { // every test says why, not the first alone
		test := &lifetime{}
		if err := test.try(func() { idle.Server(test) }); err == nil || err.Error() != want.Error() {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	if err := new(Suite).start(); !errors.Is(err, errNoMain) {
		t.Errorf("without Main: got %v", err)
	}
}
