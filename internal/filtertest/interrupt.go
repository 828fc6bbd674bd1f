package filtertest

import (
	"bytes"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
)

// Interrupt runs a client's program, which asks a server for query, and presses Ctrl-C: the query ends there, and the program says want.
func Interrupt(t *testing.T, client *exec.Cmd, server *dbtest.Server, query, want string) {
	t.Helper()
	var out bytes.Buffer
	client.Stdout, client.Stderr = &out, &out
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	Eventually(t, "the query to run", func() bool { return server.Running(query) })
	if err := client.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := client.Wait(); err == nil || !strings.Contains(out.String(), want) {
		t.Errorf("the client: %v: %s", err, &out)
	}
	Eventually(t, "the query to end", func() bool { return !server.Running(query) })
}
