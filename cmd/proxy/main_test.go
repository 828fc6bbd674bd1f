package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// asProxy makes the test binary the proxy itself.
const asProxy = "DRAGOMAN_TEST_AS_PROXY"

const limit = 90 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(asProxy) != "" {
		_ = os.Unsetenv(asProxy)
		main()
	}
	os.Exit(m.Run())
}

// program is the proxy with arguments and variables, not yet started.
func program(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(append(os.Environ(), asProxy+"=1"), env...)
	return cmd
}

// finish runs the proxy to its end.
func finish(t *testing.T, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := program(t, env, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// process is a proxy that runs on.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	output *os.File
	done   chan struct{}
}

func begin(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	out, err := os.CreateTemp(t.TempDir(), "output")
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: program(t, env, args...), output: out, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // the exit code is looked at by end
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // mostly ended already
		<-p.done
		if t.Failed() {
			t.Logf("output of the proxy:\n%s", p.text())
		}
		_ = out.Close()
	})
	return p
}

func (p *process) text() string {
	b, err := os.ReadFile(p.output.Name())
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// end waits for the exit code.
func (p *process) end() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(limit):
		p.t.Fatal("the proxy does not end")
	}
	return p.cmd.ProcessState.ExitCode()
}

// prints waits for a line.
func (p *process) prints(pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	var found []string
	redistest.Eventually(p.t, limit, "the proxy to print "+pattern, func() error {
		if found = re.FindStringSubmatch(p.text()); found == nil {
			return errors.New(p.text())
		}
		return nil
	})
	return found
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	return filetest.Put(t, filepath.Join(t.TempDir(), name), text)
}

func local(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

func document(port int, address string) string {
	return fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: cache}
spec:
  protocol: redis
  listen: {port: %d}
  environments:
    dev: {address: %q}
    prod: {address: %q}
`, port, address, address)
}

func TestUsage(t *testing.T) {
	t.Parallel()
	good := write(t, "mesh.yaml", document(redistest.Port(t), "127.0.0.1:1"))
	locked := write(t, "locked.yaml", strings.Replace(document(redistest.Port(t), "127.0.0.1:1"), `"127.0.0.1:1"`, `"127.0.0.1:1", credentials: {passwordFile: /nonexistent}`, 1))
	bad := write(t, "bad.yaml", document(redistest.Port(t), "127.0.0.1:1")+"  colour: blue\n")
	empty := write(t, "empty.yaml", "# nothing yet\n")
	elsewhere := write(t, "elsewhere.yaml", strings.Replace(document(redistest.Port(t), "127.0.0.1:1"), "listen: {", "listen: {address: 192.0.2.1, ", 1))
	socket := write(t, "socket.yaml", regexp.MustCompile(`listen: {.*}`).ReplaceAllString(document(1, "127.0.0.1:1"), "listen: {path: /nonexistent/redis.sock}"))
	boot := write(t, "boot.yaml", "admin-address: off\ncolour: blue\n")
	cases := []struct {
		name string
		args []string
		code int
		want string // on either output
	}{
		{"help", []string{"--help"}, 0, "proxy [command]"},
		{"nothing", nil, 0, "proxy [command]"},
		{"version", []string{"version"}, 0, "dragoman proxy "},
		{"unknown command", []string{"walk"}, 64, `unknown command "walk"`},
		{"misspelt command", []string{"validte"}, 64, `unknown command "validte"; did you mean "validate"? see proxy --help`},
		{"misspelt flag", []string{"run", "--environmnt", "dev"}, 64, `unknown flag: --environmnt; did you mean "--environment"? see proxy run --help`},
		{"flag with one dash", []string{"run", "-environment", "dev"}, 64, `did you mean "--environment"?`},
		{"help of a command", []string{"help", "run"}, 0, "proxy run {-f FILE"},
		{"help of an unknown command", []string{"help", "walk"}, 64, `unknown command "walk"`},
		{"unknown flag", []string{"run", "--colour"}, 64, "unknown flag: --colour"},
		{"argument", []string{"run", "x"}, 64, `unexpected argument "x"`},
		{"no documents", []string{"run"}, 64, "name a file or folder with -f"},
		{"no such file", []string{"run", "-f", "/nonexistent", "--admin-address", "off"}, 64, "/nonexistent"},
		{"bad document", []string{"run", "-f", bad, "--admin-address", "off"}, 64, "bad.yaml:10:3: spec.colour"},
		{"no environment", []string{"run", "-f", good, "--admin-address", "off"}, 64, "nothing says which of the environments"},
		{"bad level", []string{"run", "-f", good, "--log-level", "loud"}, 64, "--log-level"},
		{"bad format", []string{"run", "-f", good, "--log-format", "xml"}, 64, "--log-format"},
		{"bad timeout", []string{"run", "-f", good, "--drain-timeout", "5"}, 64, "--drain-timeout"},
		{"bad loops", []string{"run", "-f", good, "--loops", "-1"}, 64, "--loops"},
		{"bad bootstrap", []string{"run", "-f", good, "--config", boot}, 64, `unknown key "colour"`},
		{"no bootstrap", []string{"run", "-f", good, "--config", "/nonexistent.yaml"}, 64, "/nonexistent.yaml"},
		{"validate", []string{"validate", "-f", good}, 0, "1 document, no error"},
		{"validate one", []string{"validate", "-f", good, "--environment", "prod"}, 0, "no error"},
		{"validate a missing file", []string{"validate", "-f", locked}, 0, "credentials.passwordFile: /nonexistent: no such file or directory"},
		{"validate strictly", []string{"validate", "--strict", "-f", locked}, 64, "credentials.passwordFile: /nonexistent: no such file or directory"},
		{"validate wrong", []string{"validate", "-f", bad}, 64, "bad.yaml:10:3: spec.colour"},
		{"validate an empty file", []string{"validate", "-f", empty}, 0, "warning: no document in " + empty},
		{"validate an empty file strictly", []string{"validate", "--strict", "-f", empty}, 64, "no document in " + empty},
		{"an address of another host", []string{"run", "-f", elsewhere, "--admin-address", "off", "--environment", "dev"}, 64, "(this host does not have the address)"},
		{"a socket without a folder", []string{"run", "-f", socket, "--admin-address", "off", "--environment", "dev"}, 64, "(the socket's folder is not there)"},
		{"a collector without a scheme", []string{"run", "-f", good, "--otlp-endpoint", "collector:4317"}, 64, "want a URL, as http://collector:4317"},
		{"validate nothing", []string{"validate"}, 64, "name a file or folder"},
		{"wait for nobody", []string{"wait", "--admin-address", "127.0.0.1:1", "--timeout", "1s"}, 75, "(is it running? --admin-address says where)"},
		{"wait for a bare number", []string{"wait", "--timeout", "1"}, 64, "want a duration such as 10s"},
		{"status of nobody", []string{"status", "--admin-address", "127.0.0.1:1"}, 75, "(is it running? --admin-address says where)"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := finish(t, nil, tc.args...)
			if code != tc.code || !strings.Contains(stdout+stderr, tc.want) {
				t.Errorf("exit code %d, want %d, with %q in\n%s%s", code, tc.code, tc.want, stdout, stderr)
			}
		})
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	port, adminPort := redistest.Port(t), redistest.Port(t)
	file := write(t, "mesh.yaml", document(port, node.Addr()))
	p := begin(t, nil, "run", "-f", file, "--admin-address", local(adminPort), "--environment", "dev")
	if code, out, errs := finish(t, nil, "wait", "--admin-address", local(adminPort)); code != 0 {
		t.Fatalf("wait: %d %s%s", code, out, errs)
	}
	if got := redistest.Dial(t, local(port)).Do("PING"); got != "+PONG\r\n" {
		t.Errorf("got %q", got)
	}
	code, out, errs := finish(t, nil, "status", "--admin-address", local(adminPort))
	for _, want := range []string{"ready, configuration ", "environment dev (--environment)", "1 of 1 endpoints healthy"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("status: %d, %q is missing in\n%s%s", code, want, out, errs)
		}
	}
	filetest.Put(t, file, "kind: X")
	p.signal(syscall.SIGHUP)
	p.prints(`unknown kind`)
	if _, out, _ := finish(t, nil, "status", "--admin-address", local(adminPort)); !strings.Contains(out, "was refused:") {
		t.Errorf("status does not tell of the refusal:\n%s", out)
	}
	p.signal(syscall.SIGTERM)
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for line := range strings.Lines(p.text()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON although this is no terminal: %s", line)
		}
	}
}

// TestNobodyReadsTheLog: a log collector that has ended takes the proxy with it no
// more than it takes nginx or HAProxy.
func TestNobodyReadsTheLog(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	port, adminPort := redistest.Port(t), redistest.Port(t)
	file := write(t, "mesh.yaml", document(port, node.Addr()))
	log, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := program(t, nil, "run", "-f", file, "--admin-address", local(adminPort), "--environment", "dev")
	cmd.Stdout, cmd.Stderr = w, w
	if err := errors.Join(cmd.Start(), w.Close()); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	if code, out, errs := finish(t, nil, "wait", "--admin-address", local(adminPort)); code != 0 {
		t.Fatalf("wait: %d %s%s", code, out, errs)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	filetest.Put(t, file, "kind: X")
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, limit, "the change to be refused", func() error {
		select {
		case err := <-done:
			done <- err
			t.Fatalf("the proxy has ended: %v", err)
		default:
		}
		_, out, errs := finish(t, nil, "status", "--admin-address", local(adminPort))
		if !strings.Contains(out, "was refused:") {
			return errors.New(out + errs)
		}
		return nil
	})
	client := redistest.Dial(t, local(port))
	if got := client.Do("PING"); got != "+PONG\r\n" {
		t.Errorf("got %q", got)
	}
	client.Close()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("the proxy ends with %v", err)
	}
}

func TestPortTaken(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := write(t, "mesh.yaml", document(taken.Addr().(*net.TCPAddr).Port, "127.0.0.1:1"))
	code, _, errs := finish(t, nil, "run", "-f", file, "--admin-address", "off", "--environment", "dev")
	if code != 75 || !strings.Contains(errs, "address already in use (another process has it)") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
	code, _, errs = finish(t, nil, "run", "-f", file, "--admin-address", taken.Addr().String(), "--environment", "dev")
	if code != 75 || !strings.Contains(errs, "--admin-address takes another one, or off") {
		t.Errorf("the admin server's: exit code %d\n%s", code, errs)
	}
}

// TestSecondSignal has a request that does not end: the first signal waits for
// it, the second does not.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	port := redistest.Port(t)
	file := write(t, "mesh.yaml", document(port, node.Addr()))
	p := begin(t, nil, "run", "-f", file, "--admin-address", "off", "--environment", "dev", "--drain-timeout", "1h")
	p.prints("listening")
	client := redistest.Dial(t, local(port))
	client.Do("PING")
	node.Freeze()
	defer node.Thaw()
	client.Send(redistest.Command("SET", "k", "v"))
	p.signal(syscall.SIGINT)
	p.prints("draining")
	p.signal(syscall.SIGTERM)
	if code := p.end(); code != 70 && code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestDemo(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	wanted := taken.Addr().(*net.TCPAddr).Port
	p := begin(t, nil, "demo", "--port", strconv.Itoa(wanted), "--admin-address", "127.0.0.1:0", "--print-config")
	p.prints(`Port \d+ is taken`)
	port, err := strconv.Atoi(p.prints(`redis-cli -p (\d+) set hello world`)[1])
	if err != nil || port == wanted {
		t.Fatalf("port %d, %v", port, err)
	}
	p.prints(`Ctrl-C ends it`)
	client := redistest.Dial(t, local(port))
	for _, step := range [][]string{
		{"+OK\r\n", "MSET", "a", "1", "b", "2", "c", "3", "d", "4"},
		{":4\r\n", "DBSIZE"},
		{"$1\r\n3\r\n", "GET", "c"},
	} {
		if got := client.Do(step[1:]...); got != step[0] {
			t.Errorf("%v: got %q", step[1:], got)
		}
	}
	// What is printed is what run reads.
	text, _, _ := strings.Cut(p.text(), "\n\n")
	file := write(t, "mesh.yaml", text)
	if code, _, errs := finish(t, nil, "validate", "-f", file); code != 0 {
		t.Errorf("the printed document is not valid: %s\n%s", errs, text)
	}
	p.signal(syscall.SIGINT)
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
