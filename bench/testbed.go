package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/dragoman-mesh/dragoman/bench/gauge"
)

// testbed holds what a run starts.
type testbed struct {
	dir      string
	proxy    string // the proxy's executable
	args     []string
	relay    string // the relay's executable
	profiles string // folder; "": none
	procs    []*gauge.Process
	shards   []int // ports
}

func newTestbed(ctx context.Context, dir string) (*testbed, error) {
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
	port, err := gauge.FreePort(ctx)
	if err != nil {
		return err
	}
	p, err := tb.start(fmt.Sprintf("redis-%d", i), "redis-server", "--port", strconv.Itoa(port), "--bind", "127.0.0.1",
		"--save", "", "--appendonly", "no", "--dir", tb.dir, "--maxclients", "9000")
	if err != nil {
		return err
	}
	tb.shards = append(tb.shards, port)
	return p.Await(ctx, func(ctx context.Context) error { return ping(ctx, port) })
}

// start runs a program with its own log file, until close.
func (tb *testbed) start(name, program string, args ...string) (*gauge.Process, error) {
	p, err := gauge.Start(name, tb.logFile(name), program, args...)
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
		p.Stop()
	}
	tb.procs = nil
}
