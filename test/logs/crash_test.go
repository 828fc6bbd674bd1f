// Package logs_test has the whole program ship logs while it is killed again and
// again.
package logs_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

const document = `apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: app}
spec:
  logs:
    sources: [{name: app, paths: [%s/app.log]}]
    rotateWait: 200ms
    sink: {stdout: {}}
`

const (
	defaultMB = 64
	lineBytes = 160
	// ahead is how much more may be written than has come out.
	ahead = 4 << 20
	// again bounds what may come twice after a crash: what was delivered since the
	// positions were saved, and the batches under way, in bytes of records.
	again = 16<<20 + 4<<20
	// killAfter is the most lines between two kills.
	killAfter = 16 << 20 / lineBytes
	limit     = 4 * time.Minute
)

// TestKilled writes logs, rotates them by renaming and by copying and truncating,
// and kills the proxy with SIGKILL meanwhile: each line comes out, and few of them
// twice. LOGS_TEST_MB says how much is written; the default is for CI.
func TestKilled(t *testing.T) {
	t.Parallel()
	total := defaultMB << 20
	if text := os.Getenv("LOGS_TEST_MB"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		total = n << 20
	}
	r := newRun(t, total/lineBytes)
	writing := make(chan error, 1)
	go func() { writing <- r.write() }()
	kills := r.killUntil(writing)
	redistest.Eventually(t, limit, "all lines", r.complete)
	r.p.end(t)
	twice := r.twice.Load()
	t.Logf("%d lines (%d MB) in %d files, %d kills, %d lines twice", r.lines, total>>20, r.rotations+1, kills, twice)
	if most := int64(kills) * again / lineBytes; twice > most {
		t.Errorf("%d lines came twice, more than %d", twice, most)
	}
	if kills == 0 || r.rotations == 0 {
		t.Error("nothing has happened")
	}
}

// run is one test: a folder, a writer, a proxy, and what comes out.
type run struct {
	t          *testing.T
	dir, proxy string
	lines      int
	rotations  int
	out        string

	seen             []atomic.Bool // by number of the line
	different, twice atomic.Int64
	p                *process
}

func newRun(t *testing.T, lines int) *run {
	t.Helper()
	dir := t.TempDir()
	r := &run{t: t, dir: dir, lines: lines, out: filepath.Join(dir, "out"), seen: make([]atomic.Bool, lines), proxy: buildProxy(t)}
	if err := os.WriteFile(filepath.Join(dir, "mesh.yaml"), fmt.Appendf(nil, document, dir), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "app.log"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.start()
	redistest.Eventually(t, limit, "positions", func() error {
		_, err := os.Stat(filepath.Join(dir, ".dragoman-default-app.positions"))
		return err
	})
	done, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- r.read(done) }()
	t.Cleanup(func() {
		close(done)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return r
}

// process is a proxy that runs.
type process struct {
	cmd *exec.Cmd
	err bytes.Buffer
}

func (r *run) start() {
	r.t.Helper()
	out, err := os.OpenFile(r.out, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		r.t.Fatal(err)
	}
	defer out.Close()
	p := &process{cmd: exec.CommandContext(r.t.Context(), r.proxy, "run", "-f", filepath.Join(r.dir, "mesh.yaml"), "--admin-address", "off")}
	p.cmd.Stdout, p.cmd.Stderr = out, &p.err
	if err := p.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.p = p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait() // it says that it was killed
}

// end asks the proxy to end, as a kubelet does.
func (p *process) end(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the proxy ends with %v:\n%s", err, p.err.Bytes())
	}
}

// killUntil kills the proxy each time that some more lines have come, until all is
// written.
func (r *run) killUntil(writing <-chan error) (kills int) {
	r.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	next := rand.Int64N(killAfter)
	for {
		select {
		case err := <-writing:
			if err != nil {
				r.t.Fatal(err)
			}
			return kills
		case <-tick.C:
			if r.different.Load() < next {
				continue
			}
			r.p.kill()
			kills++
			next = r.different.Load() + rand.Int64N(killAfter)
			r.start()
		}
	}
}

// write writes all lines, in pieces of whole lines, and rotates now and then.
func (r *run) write() error {
	path := filepath.Join(r.dir, "app.log")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	var b []byte
	for n := 0; n < r.lines; {
		b = b[:0]
		for range min(1+rand.N(800), r.lines-n) {
			b = appendLine(b, n)
			n++
		}
		if _, err := f.Write(b); err != nil {
			return errors.Join(err, f.Close())
		}
		if err := r.keepClose(n); err != nil {
			return errors.Join(err, f.Close())
		}
		if rand.N(60) == 0 {
			if f, err = r.rotate(f, path); err != nil {
				return err
			}
		}
	}
	return f.Close()
}

// appendLine adds a line that begins with its number.
func appendLine(b []byte, n int) []byte {
	start := len(b)
	b = fmt.Appendf(b, "seq=%010d ", n)
	for len(b)-start < lineBytes-1 {
		b = append(b, 'a'+byte(len(b)%26))
	}
	return append(b, '\n')
}

// keepClose waits until not too much is on its way.
func (r *run) keepClose(n int) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(r.t.Context(), limit)
	defer cancel()
	for (int64(n)-r.different.Load())*lineBytes > ahead {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d lines were written and %d have come: %w", n, r.different.Load(), ctx.Err())
		}
	}
	return nil
}

// rotate renames the file, or copies and truncates it.
func (r *run) rotate(f *os.File, path string) (*os.File, error) {
	r.rotations++
	to := fmt.Sprintf("%s.%d", path, r.rotations)
	if rand.N(3) > 0 {
		if err := os.Rename(path, to); err != nil {
			return f, err
		}
		next, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		return next, errors.Join(err, f.Close())
	}
	from, err := os.Open(path)
	if err != nil {
		return f, err
	}
	defer from.Close()
	copied, err := os.Create(to)
	if err != nil {
		return f, err
	}
	_, err = io.Copy(copied, from)
	return f, errors.Join(err, copied.Close(), f.Truncate(0))
}

// read notes which lines have come, until done is closed.
func (r *run) read(done <-chan struct{}) error {
	f, err := os.Open(r.out)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<20)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			r.note(line)
			line = line[:0]
		case errors.Is(err, io.EOF):
			select {
			case <-tick.C:
			case <-done:
				return nil
			}
		case !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}

// note takes a line of the output. Where the proxy was killed in the middle of
// one, it is followed by another.
func (r *run) note(line []byte) {
	at := bytes.LastIndex(line, []byte("seq="))
	if at < 0 || len(line) < at+14 {
		r.t.Errorf("what is this: %q", line)
		return
	}
	n, err := strconv.Atoi(string(line[at+4 : at+14]))
	if err != nil || n >= r.lines {
		r.t.Errorf("what is this: %q", line)
		return
	}
	if r.seen[n].Swap(true) {
		r.twice.Add(1)
		return
	}
	r.different.Add(1)
}

func (r *run) complete() error {
	if got := r.different.Load(); got < int64(r.lines) {
		first := 0
		for first < r.lines && r.seen[first].Load() {
			first++
		}
		return fmt.Errorf("%d of %d lines have come, the first that has not is %d", got, r.lines, first)
	}
	return nil
}
