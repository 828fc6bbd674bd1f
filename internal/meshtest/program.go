package meshtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// Program is a running proxy or control plane with an admin server.
type Program struct {
	*redistest.Process
	// Name is what it is, Admin the address of its admin server.
	Name, Admin string

	tb    testing.TB
	limit time.Duration // of what is waited for
}

// Run runs a command that is a program of a name. It is told to end when the test
// does, and has to do that well.
func Run(tb testing.TB, limit time.Duration, name, admin string, command ...string) *Program {
	tb.Helper()
	p := &Program{Process: redistest.Run(tb, command[0], command[1:]...), Name: name, Admin: admin, tb: tb, limit: limit}
	tb.Cleanup(p.Stop)
	return p
}

// In is the program for another test, which it may fail.
func (p *Program) In(tb testing.TB) *Program {
	other := *p
	other.tb = tb
	return &other
}

// Stop tells the program to end, which it has to do well, unless it is gone.
func (p *Program) Stop() {
	p.tb.Helper()
	select {
	case <-p.Done():
	default:
		if err := p.Signal(syscall.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
			p.tb.Errorf("stopping the %s: %v", p.Name, err)
		}
		select {
		case <-p.Done():
			if code := p.ExitCode(); code != 0 {
				p.tb.Errorf("exit code of the %s: %d", p.Name, code)
			}
		case <-time.After(p.limit):
			p.tb.Errorf("the %s does not end", p.Name)
		}
	}
	if bytes.Contains(p.Output(), []byte("WARNING: DATA RACE")) {
		p.tb.Errorf("data race in the %s:\n%s", p.Name, p.Output())
	}
}

// Get asks the admin server; 0 and the error where there is no answer.
func (p *Program) Get(path string) (code int, body string) {
	return Get(http.DefaultClient, "http://"+p.Admin+path, "")
}

// Get asks for a page, with a token if that is not "".
func Get(client *http.Client, url, token string) (code int, body string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err.Error()
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}

// Eventually is redistest's, for as long as the program runs.
func (p *Program) Eventually(what string, check func() error) {
	p.tb.Helper()
	redistest.Eventually(p.tb, p.limit, what, func() error {
		select {
		case <-p.Done():
			p.tb.Fatalf("the %s ended with exit code %d:\n%s", p.Name, p.ExitCode(), p.Output())
		default:
		}
		return check()
	})
}

// Ready waits for /ready, whose body has to have a text.
func (p *Program) Ready(text string) {
	p.tb.Helper()
	p.Eventually("the "+p.Name+" to be ready", func() error {
		if code, body := p.Get("/ready"); code != http.StatusOK || !strings.Contains(body, text) {
			return fmt.Errorf("%d %s", code, body)
		}
		return nil
	})
}

// Shows waits until an admin page has all of some texts.
func (p *Program) Shows(path string, texts ...string) {
	p.tb.Helper()
	p.Eventually(path, func() error {
		_, body := p.Get(path)
		return Holds(body, texts...)
	})
}

// Logs waits until the program has logged all of some texts.
func (p *Program) Logs(texts ...string) {
	p.tb.Helper()
	p.Eventually("the log", func() error { return Holds(string(p.Output()), texts...) })
}

// Holds says which of some texts a body has not.
func Holds(body string, texts ...string) error {
	for _, text := range texts {
		if !strings.Contains(body, text) {
			return fmt.Errorf("no %q in\n%s", text, body)
		}
	}
	return nil
}
