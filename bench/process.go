package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// process is a server that the benchmark started.
type process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

func startProcess(name, logFile, program string, args ...string) (*process, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own: Ctrl-C is for the benchmark, which then stops the
	// servers in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	p := &process{name: name, cmd: cmd, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop ends the process, at first politely.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return
	case <-time.After(3 * time.Second):
	}
	_ = p.cmd.Process.Kill()
	<-p.done
}

// errEnded says that a process ended before it was ready.
var errEnded = errors.New("ended before it was ready; see its log")

// await calls probe until it succeeds, the process ends or ten seconds pass.
func (p *process) await(ctx context.Context, probe func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		err := probe(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s: %w", p.name, errEnded)
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w", p.name, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// testbed holds what a run starts: a folder and servers. The folder is removed
// at the end unless something failed.
type testbed struct {
	dir    string
	proxy  string // the proxy's executable
	args   []string
	procs  []*process
	shards []int // ports
}

func newTestbed(ctx context.Context) (*testbed, error) {
	dir, err := os.MkdirTemp("", "dragoman-bench-")
	if err != nil {
		return nil, err
	}
	tb := &testbed{dir: dir}
	for i := range 4 {
		if err := tb.startShard(ctx, i); err != nil {
			tb.close()
			return nil, err
		}
	}
	return tb, nil
}

func (tb *testbed) startShard(ctx context.Context, i int) error {
	port, err := freePort(ctx)
	if err != nil {
		return err
	}
	p, err := tb.start(fmt.Sprintf("redis-%d", i), "redis-server", "--port", strconv.Itoa(port), "--bind", "127.0.0.1",
		"--save", "", "--appendonly", "no", "--dir", tb.dir, "--maxclients", "9000")
	if err != nil {
		return err
	}
	tb.shards = append(tb.shards, port)
	return p.await(ctx, func(ctx context.Context) error { return ping(ctx, port) })
}

// start runs a program with its own log file, until close.
func (tb *testbed) start(name, program string, args ...string) (*process, error) {
	p, err := startProcess(name, tb.logFile(name), program, args...)
	if err != nil {
		return nil, err
	}
	tb.procs = append(tb.procs, p)
	return p, nil
}

func (tb *testbed) logFile(name string) string { return filepath.Join(tb.dir, name+".log") }

// write stores a configuration file and returns its path.
func (tb *testbed) write(name, text string) (string, error) {
	path := filepath.Join(tb.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// close stops every server, youngest first.
func (tb *testbed) close() {
	for _, p := range slices.Backward(tb.procs) {
		p.stop()
	}
	tb.procs = nil
}

// remove deletes the folder with configurations and logs.
func (tb *testbed) remove() error { return os.RemoveAll(tb.dir) }

// freePort asks the kernel for a port that nobody uses. Another program could
// take it before the server does; then that server fails to start, visibly.
func freePort(ctx context.Context) (int, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
