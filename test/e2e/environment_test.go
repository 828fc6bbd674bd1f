package e2e

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// worlds are the servers of two environments. The key "where" says which one it is.
type worlds struct{ dev, prod *redistest.Node }

func startWorlds(t *testing.T) worlds {
	t.Helper()
	w := worlds{redistest.Server(t), redistest.Server(t)}
	w.dev.Do("SET", "where", "dev")
	w.prod.Do("SET", "where", "prod")
	return w
}

// document has both environments; the app's part of it is the same in both. The rest is further fields of spec, in flow style.
func (w worlds) document(port int, rest string) string {
	return fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: cache}
spec:
  protocol: redis
  listen: {port: %d}
  environments:
    dev: {address: %q}
    prod: {address: %q}
%s`, port, w.dev.Addr(), w.prod.Addr(), rest)
}

const byRule = `  environmentRules: [{match: "*-prod", environment: prod}]
  defaultEnvironment: dev
`

// labels is a file as the downward API writes it, with an environment among other labels.
func labels(environment string) string {
	return fmt.Sprintf("app=\"web\"\nmesh.dragoman.io/environment=%q\npod-template-hash=\"6d4cf56db6\"\n", environment)
}

func TestEnvironmentChosen(t *testing.T) {
	t.Parallel()
	w := startWorlds(t)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		env    []string
		args   []string // FILE: replaced by a file with the content behind it
		rest   string
		want   string
		source string
	}{
		{"flag", []string{"DRAGOMAN_ENVIRONMENT=dev"}, []string{"--environment=prod"}, byRule, "prod", "--environment"},
		{"variable", []string{"DRAGOMAN_ENVIRONMENT=prod"}, []string{"--labels-file", "FILE:" + labels("dev")}, byRule, "prod", "DRAGOMAN_ENVIRONMENT"},
		{
			"pod label", nil,
			[]string{"--labels-file", "FILE:" + labels("prod"), "--namespace-labels-file", "FILE:" + labels("dev")},
			byRule, "prod", "pod label mesh.dragoman.io/environment",
		},
		{
			"namespace label", nil,
			[]string{"--namespace-labels-file", "FILE:" + labels("dev"), "--namespace=shop-prod"},
			byRule, "dev", "namespace label mesh.dragoman.io/environment",
		},
		{"namespace", nil, []string{"--namespace=shop-prod"}, byRule, "prod", "environmentRules[0] (namespace shop-prod)"},
		{"namespace file", nil, []string{"--namespace-file", "FILE:shop-prod\n"}, byRule, "prod", "environmentRules[0] (namespace shop-prod)"},
		{
			"host", nil, nil,
			fmt.Sprintf("  environmentRules: [{match: %q, environment: prod}]\n", host), "prod", "environmentRules[0] (host like " + host + ")",
		},
		{"default", nil, []string{"--namespace=shop"}, byRule, "dev", "defaultEnvironment"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			port := redistest.Port(t)
			args := []string{"run", "-f", filetest.Put(t, filepath.Join(t.TempDir(), "mesh.yaml"), w.document(port, tt.rest))}
			for _, arg := range tt.args {
				if content, ok := strings.CutPrefix(arg, "FILE:"); ok {
					arg = filetest.Put(t, filepath.Join(t.TempDir(), "fact"), content)
				}
				args = append(args, arg)
			}
			p := launch(t, tt.env, args...)
			p.awaitReady()
			if got, want := redistest.Dial(t, mesh{port: port}.Addr()).Do("GET", "where"), bulkOf(tt.want); got != want {
				t.Errorf("GET where: got %q, want %q", got, want)
			}
			page := p.Get("/config_dump")
			for _, want := range []string{fmt.Sprintf(`"environment": %q`, tt.want), fmt.Sprintf(`"source": %q`, tt.source)} {
				if !strings.Contains(page, want) {
					t.Errorf("/config_dump has no %s:\n%s", want, page)
				}
			}
			p.awaitLog(fmt.Sprintf(`"environmentSource":%q`, tt.source))
		})
	}
}

// TestEnvironmentRefused: who does not know where it is must not run, and must say what is missing.
func TestEnvironmentRefused(t *testing.T) {
	t.Parallel()
	w := startWorlds(t)
	for _, tt := range []struct {
		name, rest string
		args       []string
		want       []string
	}{
		{"unknown", byRule, []string{"--environment=staging"}, []string{"staging", "--environment", "dev, prod"}},
		{"none", "", nil, []string{"nothing says which of the environments dev, prod", "DRAGOMAN_ENVIRONMENT", "defaultEnvironment"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			file := filetest.Put(t, filepath.Join(t.TempDir(), "mesh.yaml"), w.document(redistest.Port(t), tt.rest))
			p := launch(t, nil, append([]string{"run", "-f", file}, tt.args...)...)
			if got := p.ExitCode(); got != 64 {
				t.Errorf("exit code: got %d, want 64", got)
			}
			for _, want := range tt.want {
				if out := string(p.Output()); !strings.Contains(out, want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
		})
	}
}

// switching is a proxy whose pod's labels change.
type switching struct {
	*Proxy
	worlds
	addr, labels string
}

func startSwitching(t *testing.T, rest string) *switching {
	t.Helper()
	w := startWorlds(t)
	port := redistest.Port(t)
	s := &switching{worlds: w, addr: mesh{port: port}.Addr(), labels: filepath.Join(t.TempDir(), "labels")}
	filetest.Put(t, s.labels, labels("dev"))
	file := filetest.Put(t, filepath.Join(t.TempDir(), "mesh.yaml"), w.document(port, rest))
	s.Proxy = launch(t, nil, "run", "-f", file, "--labels-file", s.labels)
	s.awaitReady()
	return s
}

// move changes the label and waits until new connections go to where it says.
func (s *switching) move(environment string) {
	s.t.Helper()
	filetest.Put(s.t, s.labels, labels(environment))
	redistest.Eventually(s.t, readyLimit, "new connections to go to "+environment, func() error {
		// one that comes just before the change may be cut
		if got, err := redistest.Dial(s.t, s.addr).TryDo("GET", "where"); err != nil || got != bulkOf(environment) {
			return fmt.Errorf("GET where: %q, %w", got, err)
		}
		return nil
	})
}

func wantReply(t *testing.T, c *redistest.Client, want string, command ...string) {
	t.Helper()
	if got := c.Do(command...); got != want {
		t.Errorf("%q: got %q, want %q", command, got, want)
	}
}

// awaitReply repeats a command until the reply is there: open connections change after new ones do.
func awaitReply(t *testing.T, c *redistest.Client, want string, command ...string) {
	t.Helper()
	redistest.Eventually(t, readyLimit, strings.Join(command, " "), func() error {
		if got := c.Do(command...); got != want {
			return fmt.Errorf("got %q, want %q", got, want)
		}
		return nil
	})
}

// TestEnvironmentDrain: a client moves to the other environment between two requests, without a new connection; one that is in the middle of
// something finishes that first, where it began.
func TestEnvironmentDrain(t *testing.T) {
	t.Parallel()
	s := startSwitching(t, "  onEnvironmentChange: Drain\n  drainDeadline: 60s\n")
	load := startPipeliners(t, s.addr, 10, false)
	idle, tx, watching, blocked := redistest.Dial(t, s.addr), redistest.Dial(t, s.addr), redistest.Dial(t, s.addr), redistest.Dial(t, s.addr)
	wantReply(t, idle, bulkOf("dev"), "GET", "where")
	wantReply(t, tx, "+OK\r\n", "MULTI")
	wantReply(t, tx, "+QUEUED\r\n", "SET", "from-tx", "1")
	wantReply(t, watching, "+OK\r\n", "WATCH", "watched")
	wantReply(t, watching, bulkOf("dev"), "GET", "where")
	blocked.Send(redistest.Command("BLPOP", "queue", "0"))
	redistest.Eventually(t, readyLimit, "BLPOP to block", func() error {
		if got := s.dev.Info("blocked_clients"); got != "1" {
			return fmt.Errorf("%s clients are blocked", got)
		}
		return nil
	})
	awaitBatches(t, load, 3)

	s.move("prod")
	awaitBatches(t, load, 3)
	awaitReply(t, idle, bulkOf("prod"), "GET", "where")

	wantReply(t, tx, "+QUEUED\r\n", "GET", "where")
	wantReply(t, tx, "*2\r\n+OK\r\n"+bulkOf("dev"), "EXEC")
	wantReply(t, tx, bulkOf("prod"), "GET", "where")
	if dev, prod := s.dev.Do("EXISTS", "from-tx"), s.prod.Do("EXISTS", "from-tx"); dev != ":1\r\n" || prod != ":0\r\n" {
		t.Errorf("the transaction's key: dev %q, prod %q, want it in dev alone", dev, prod)
	}

	s.dev.Do("SET", "watched", "changed")
	wantReply(t, watching, "+OK\r\n", "MULTI")
	wantReply(t, watching, "+QUEUED\r\n", "SET", "watched", "mine")
	wantReply(t, watching, "*-1\r\n", "EXEC")
	wantReply(t, watching, bulkOf("prod"), "GET", "where")

	s.dev.Do("RPUSH", "queue", "job")
	if got, want := blocked.ReadFrame(), "*2\r\n"+bulkOf("queue")+bulkOf("job"); got != want {
		t.Errorf("BLPOP: got %q, want %q", got, want)
	}
	wantReply(t, blocked, bulkOf("prod"), "GET", "where")

	filetest.Put(t, s.labels, labels("nowhere"))
	s.awaitLog(`there is no environment \"nowhere\"`)
	wantReply(t, idle, bulkOf("prod"), "GET", "where")
	s.move("dev")
	awaitReply(t, idle, bulkOf("dev"), "GET", "where")
	for _, p := range load {
		p.end()
	}
	wantNothingWrong(t, load, "while the environment changed")
	redistest.Eventually(t, readyLimit, "the old environment's connections to close", func() error {
		if got := s.prod.Info("connected_clients"); got != "1" {
			return errors.New(got + " clients are connected, one of them this test")
		}
		return nil
	})
}

// TestEnvironmentDrainDeadline: who does not come to an end is ended.
func TestEnvironmentDrainDeadline(t *testing.T) {
	t.Parallel()
	s := startSwitching(t, "  onEnvironmentChange: Drain\n  drainDeadline: 1s\n")
	idle, tx, subscriber := redistest.Dial(t, s.addr), redistest.Dial(t, s.addr), redistest.Dial(t, s.addr)
	wantReply(t, idle, bulkOf("dev"), "GET", "where")
	wantReply(t, tx, "+OK\r\n", "MULTI")
	wantReply(t, tx, "+QUEUED\r\n", "SET", "from-tx", "1")
	subscriber.Do("SUBSCRIBE", "news")
	s.move("prod")
	for name, c := range map[string]*redistest.Client{"transaction": tx, "subscriber": subscriber} {
		if got, err := c.TryReadFrame(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: got %q, %v, want the end of the connection", name, got, err)
		}
	}
	if got := s.dev.Do("EXISTS", "from-tx"); got != ":0\r\n" {
		t.Errorf("the transaction that was cut off has been executed: %q", got)
	}
	awaitReply(t, idle, bulkOf("prod"), "GET", "where")
}

// TestEnvironmentCut ends every connection at once: nobody may go on with what he knows from the other environment.
func TestEnvironmentCut(t *testing.T) {
	t.Parallel()
	s := startSwitching(t, "  onEnvironmentChange: Cut\n")
	idle, tx := redistest.Dial(t, s.addr), redistest.Dial(t, s.addr)
	wantReply(t, idle, bulkOf("dev"), "GET", "where")
	wantReply(t, tx, "+OK\r\n", "MULTI")
	s.move("prod")
	for name, c := range map[string]*redistest.Client{"idle": idle, "transaction": tx} {
		if got, err := c.TryReadFrame(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: got %q, %v, want the end of the connection", name, got, err)
		}
	}
}
