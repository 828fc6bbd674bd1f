package e2e

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// launch runs the proxy with arguments of the test's own, and environment variables besides the test's. It waits for nothing. An admin
// address is added.
func launch(t *testing.T, env []string, args ...string) *Proxy {
	t.Helper()
	return launchBinary(t, proxyBinary(t), env, args...)
}

func launchBinary(t *testing.T, binary string, env []string, args ...string) *Proxy {
	t.Helper()
	admin := "127.0.0.1:" + strconv.Itoa(redistest.Port(t))
	all := append([]string{"DRAGOMAN_ADMIN_ADDRESS=" + admin}, env...)
	all = append(append(all, binary), args...)
	p := &Proxy{Process: redistest.Run(t, "env", all...), t: t, admin: admin}
	t.Cleanup(p.Stop)
	return p
}

// awaitReady waits for /ready.
func (p *Proxy) awaitReady() {
	p.t.Helper()
	redistest.Eventually(p.t, readyLimit, "the proxy to be ready", func() error {
		select {
		case <-p.Done():
			p.t.Fatalf("the proxy ended with exit code %d:\n%s", p.ExitCode(), p.Output())
		default:
		}
		status, body, err := p.fetch("/ready")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("/ready: %d %s", status, body)
		}
		return err
	})
}

// shows tells whether an admin page has a text.
func (p *Proxy) shows(path, text string) error {
	_, body, err := p.fetch(path)
	if err == nil && !strings.Contains(body, text) {
		err = fmt.Errorf("%s has no %q:\n%s", path, text, body)
	}
	return err
}

// counter is the sum of a metric's series.
func (p *Proxy) counter(name string) (sum float64) {
	p.t.Helper()
	for line := range strings.Lines(p.Get("/metrics")) {
		if rest, ok := strings.CutPrefix(line, name); !ok || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' ')+1:]), 64)
		if err != nil {
			p.t.Fatalf("%s: %v", line, err)
		}
		sum += n
	}
	return sum
}

// awaitShows waits until an admin page has a text.
func (p *Proxy) awaitShows(path, text string) {
	p.t.Helper()
	redistest.Eventually(p.t, readyLimit, path, func() error { return p.shows(path, text) })
}

// awaitLog waits until the proxy has logged a text.
func (p *Proxy) awaitLog(text string) {
	p.t.Helper()
	redistest.Eventually(p.t, readyLimit, "the log", func() error {
		if out := string(p.Output()); !strings.Contains(out, text) {
			return fmt.Errorf("no %q in\n%s", text, out)
		}
		return nil
	})
}
