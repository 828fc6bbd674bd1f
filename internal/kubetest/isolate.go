package kubetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
)

// isolatedVariable is set in a test binary that runs in a network namespace of its own.
const isolatedVariable = "DRAGOMAN_KUBETEST_ISOLATED"

// isolated tells whether this test binary runs in a network namespace of its own.
func isolated() bool { return os.Getenv(isolatedVariable) != "" }

// runIsolated runs this test binary once more, in a network namespace of its own, and returns its exit code. An error means that it did not
// run. Its directory for temporary files is removed however it ends.
// With processes they are the binary's own, too, and so are mounts: all end with it.
func runIsolated(processes bool) (int, error) {
	dir, err := os.MkdirTemp("", "kubetest")
	if err != nil {
		return 0, fmt.Errorf("making a directory: %w", err)
	}
	defer remove(dir)
	// As the directory that it stands for: databases run as users of their own.
	if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
		return 0, fmt.Errorf("opening a directory: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("finding the test binary: %w", err)
	}
	// The kernel kills the child when the thread that started it ends, so this one must stay.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var refused error
	for _, attributes := range []*syscall.SysProcAttr{asRoot(), asUser()} {
		cmd := exec.Command(self, os.Args[1:]...)
		cmd.Env = append(os.Environ(), isolatedVariable+"=1", "TMPDIR="+dir)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.SysProcAttr = attributes
		if processes {
			attributes.Cloneflags |= syscall.CLONE_NEWPID | syscall.CLONE_NEWNS
		}
		if err := cmd.Start(); err != nil {
			refused = err
			continue
		}
		return await(cmd), nil
	}
	return 0, refused
}

// remove removes a directory, into which servers that are just being killed may still write.
func remove(dir string) {
	err := poll(endLimit, func(context.Context) (bool, error) { return os.RemoveAll(dir) == nil, nil })
	if err != nil {
		fmt.Fprintf(os.Stderr, "kubetest: cannot remove %s\n", dir)
	}
}

// asRoot asks for a network namespace, which root may have.
func asRoot() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWNET}
}

// asUser asks for a user namespace, too, in which we are root.
func asUser() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Pdeathsig:   syscall.SIGKILL,
		Cloneflags:  syscall.CLONE_NEWNET | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
}

// await passes signals on until the child has ended, and returns its exit code. `go test` asks for the stacks of a test binary that takes
// too long with SIGQUIT.
func await(cmd *exec.Cmd) int {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case sig := <-signals:
				_ = cmd.Process.Signal(sig)
			case <-ended:
				return
			}
		}
	}()
	err := cmd.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return exit.ExitCode()
	default:
		fmt.Fprintf(os.Stderr, "kubetest: %v\n", err)
		return 2
	}
}

// setUpNetwork makes loopback work in a fresh network namespace, and a whole prefix local: what is local can be listened on without being an
// address of an interface. (Only in IPv4: in IPv6, addresses are added one by one.) It may have been done before: the workers of a fuzz target
// share the namespace.
func setUpNetwork() error {
	return ip("link set lo up", "route replace local 10.200.0.0/16 dev lo")
}

// setUpProcesses shows a test binary with processes of its own only those, and keeps its mounts to itself.
func setUpProcesses() error {
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keeping mounts private: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	if err := syscall.Mount("tmpfs", "/dev/shm", "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, ""); err != nil {
		return fmt.Errorf("mounting /dev/shm, where podman has its locks: %w", err)
	}
	return nil
}

// ip runs commands of iproute2.
func ip(commands ...string) error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(commands, "; "), err, out)
	}
	return nil
}
