package logs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// small is a file system of a few KiB, in a mount namespace of its own, which ends with the test.
type small struct {
	t      *testing.T
	dir    string // in that namespace
	seen   string // the same from outside
	holder *exec.Cmd
}

// newSmall mounts one. Whoever is not root is root of a user namespace for it.
func newSmall(t *testing.T, size string) *small {
	t.Helper()
	s := &small{t: t, dir: t.TempDir()}
	args := []string{"--mount", "--propagation", "private"}
	if os.Geteuid() != 0 {
		args = append(args, "--map-root-user")
	}
	args = append(args, "sh", "-c", fmt.Sprintf("mount -t tmpfs -o size=%s,mode=0700 tmpfs %s && echo mounted && exec cat", size, s.dir))
	s.holder = exec.Command("unshare", args...)
	in, err := s.holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	s.holder.Stderr = &stderr
	if err := s.holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = s.holder.Wait() // it has nothing to say
	})
	said := make([]byte, len("mounted\n"))
	if _, err := io.ReadFull(out, said); err != nil {
		t.Fatalf("mounting a tmpfs: %v\n%s", err, stderr.Bytes())
	}
	s.seen = filepath.Join("/proc", strconv.Itoa(s.holder.Process.Pid), "root", s.dir)
	return s
}

// within is a command in the namespace.
func (s *small) within(args ...string) *exec.Cmd {
	enter := []string{"--target", strconv.Itoa(s.holder.Process.Pid), "--mount"}
	if os.Geteuid() != 0 {
		enter = append(enter, "--user", "--preserve-credentials")
	}
	return exec.CommandContext(s.t.Context(), "nsenter", append(enter, args...)...)
}

// fill leaves no room.
func (s *small) fill() {
	s.t.Helper()
	f, err := os.Create(filepath.Join(s.seen, "filler"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		s.t.Fatal(err)
	}
}

// grow gives it another size.
func (s *small) grow(size string) {
	s.t.Helper()
	if out, err := s.within("mount", "-o", "remount,size="+size, s.dir).CombinedOutput(); err != nil {
		s.t.Fatalf("growing the tmpfs: %v\n%s", err, out)
	}
}

// shipper is a proxy in the namespace that ships app.log.
type shipper struct {
	*process
	t     *testing.T
	admin string
}

// ship starts a proxy whose output and positions are files.
func (s *small) ship(binary, log, out, positions string) *shipper {
	s.t.Helper()
	dir := s.t.TempDir()
	mesh := filepath.Join(dir, "mesh.yaml")
	if err := os.WriteFile(mesh, fmt.Appendf(nil, `apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: app}
spec:
  logs:
    positions: %s
    sources: [{name: app, paths: [%s]}]
    batch: {interval: 50ms}
    sink: {stdout: {}}
`, positions, log), 0o600); err != nil {
		s.t.Fatal(err)
	}
	p := &shipper{process: &process{}, t: s.t, admin: "127.0.0.1:" + strconv.Itoa(redistest.Port(s.t))}
	p.cmd = s.within("sh", "-c", fmt.Sprintf("exec %s run -f %s --admin-address %s >>%s", binary, mesh, p.admin, out))
	p.cmd.Stderr = &p.err
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			p.kill()
		}
	})
	return p
}

// counts waits until a metric is above zero.
func (p *shipper) counts(metric string) {
	p.t.Helper()
	redistest.Eventually(p.t, limit, metric+" above 0", func() error {
		resp, err := http.Get("http://" + p.admin + "/stats/prometheus")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(body)) {
			if strings.HasPrefix(line, metric) && !strings.HasSuffix(line, " 0\n") {
				return nil
			}
		}
		return errors.New("it is not")
	})
}

// bodies are those of the records in a file; the last may be incomplete.
func bodies(t *testing.T, file string) (out []string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if !strings.HasSuffix(line, "\n") {
			break
		}
		var r struct{ Body string }
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		out = append(out, r.Body)
	}
	return out
}

// inOrder waits for numbered lines, which must come once and in order.
func inOrder(t *testing.T, file string, n int) {
	t.Helper()
	redistest.Eventually(t, limit, "all lines", func() error {
		if got := len(bodies(t, file)); got < n {
			return fmt.Errorf("%d of %d", got, n)
		}
		return nil
	})
	got := bodies(t, file)
	if len(got) != n {
		t.Errorf("%d records of %d lines", len(got), n)
	}
	for i, body := range got[:n] {
		if want := fmt.Sprintf("seq=%010d ", i); !strings.HasPrefix(body, want) || len(body) != lineBytes-1 {
			t.Fatalf("record %d is %q, whose line begins with %q", i, body, want)
		}
	}
}

// appendLines writes some lines to a file.
func appendLines(t *testing.T, file string, from, to int) {
	t.Helper()
	var b []byte
	for n := from; n < to; n++ {
		b = appendLine(b, n)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
}

// TestNoRoomForRecords has the proxy's output on a disk that is full before all is written: it waits, says so, and goes on in the middle of the record where it
// stopped when there is room.
func TestNoRoomForRecords(t *testing.T) {
	t.Parallel()
	s, dir := newSmall(t, "256k"), t.TempDir()
	log := filepath.Join(dir, "app.log")
	const lines = 8000
	appendLines(t, log, 0, lines)
	p := s.ship(buildProxy(t), log, filepath.Join(s.dir, "out"), filepath.Join(dir, "positions"))
	p.counts(`dragoman_logs_sink_errors_total{adapter="default/app/adapter",reason="write"}`)
	if n := len(bodies(t, filepath.Join(s.seen, "out"))); n >= lines {
		t.Fatalf("all %d records had room", n)
	}
	s.grow("16m")
	inOrder(t, filepath.Join(s.seen, "out"), lines)
	p.end(t)
	said(t, p, "log records are not taken; reading pauses until they are", "no space left on device", "log records are taken again")
}

// TestNoRoomForPositions fills the disk of the positions while records have room elsewhere: they go on, what cannot be saved is said once and counted, and is
// saved when there is room: nothing comes twice after the proxy is killed then.
func TestNoRoomForPositions(t *testing.T) {
	t.Parallel()
	s, dir := newSmall(t, "256k"), t.TempDir()
	binary, log, out, positions := buildProxy(t), filepath.Join(dir, "app.log"), filepath.Join(dir, "out"), filepath.Join(s.dir, "positions")
	appendLines(t, log, 0, 10)
	p := s.ship(binary, log, out, positions)
	s.saved(10)
	s.fill()
	appendLines(t, log, 10, 20)
	p.counts("dragoman_logs_position_errors_total")
	inOrder(t, out, 20)
	s.saved(10) // the old file is whole

	if err := os.Remove(filepath.Join(s.seen, "filler")); err != nil {
		t.Fatal(err)
	}
	s.saved(20)
	p.kill()
	said(t, p, "positions could not be saved", "no space left on device", "positions are saved again")
	if n := strings.Count(p.err.String(), "positions could not be saved"); n != 1 {
		t.Errorf("it is said %d times that positions could not be saved", n)
	}
	appendLines(t, log, 20, 30)
	again := s.ship(binary, log, out, positions)
	inOrder(t, out, 30)
	again.end(t)
}

// saved waits until the positions say that some lines have been delivered.
func (s *small) saved(lines int) {
	s.t.Helper()
	redistest.Eventually(s.t, time.Minute, fmt.Sprintf("the position after %d lines", lines), func() error {
		data, err := os.ReadFile(filepath.Join(s.seen, "positions"))
		if err != nil {
			return err
		}
		var f struct{ Files []struct{ Offset int } }
		if err := json.Unmarshal(data, &f); err != nil {
			s.t.Fatalf("%v in %q", err, data)
		}
		if len(f.Files) != 1 || f.Files[0].Offset != lines*lineBytes {
			return errors.New(string(data))
		}
		return nil
	})
}

// said finds what a proxy that has ended said.
func said(t *testing.T, p *shipper, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(p.err.String(), text) {
			t.Errorf("it never said %q:\n%s", text, p.err.String())
		}
	}
}

// buildProxy builds the program.
func buildProxy(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "proxy")
	build := exec.CommandContext(t.Context(), "go", "build", "-pgo=off", "-o", binary, "./cmd/proxy")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	return binary
}
