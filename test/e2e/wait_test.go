package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// waits runs `proxy wait` to its end.
func (p *Proxy) waits(limit time.Duration) (code int, output string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), limit+readyLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, proxyBinary(p.t), "wait", "--admin-address", p.admin, "--timeout", limit.String())
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		p.t.Fatalf("proxy wait: %v", err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// TestWaitForDatabases: a proxy whose credentials are not there yet, and which has a primary to find, listens at once. An app that comes too
// early is held, and told what is missing if that takes too long; `proxy wait` says the same, and ends well once apps are served.
func TestWaitForDatabases(t *testing.T) {
	t.Parallel()
	primary := dbtest.StartPostgres(t)
	standby := primary.Standby()
	maria := dbtest.StartMariaDB(t)
	orders, stock, dir := redistest.Port(t), redistest.Port(t), t.TempDir()
	password := filepath.Join(dir, "password")
	file := filetest.Put(t, filepath.Join(dir, "mesh.yaml"), fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: orders}
spec:
  protocol: postgres
  listen: {port: %d}
  limits: {maxWait: 2s}
  environments:
    prod: {address: %q, standbys: [{address: %q}], database: app, credentials: {username: u_scram, passwordFile: %s}}
  defaultEnvironment: prod
---
apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: stock}
spec:
  protocol: mysql
  listen: {port: %d}
  limits: {maxWait: 90s}
  environments: {prod: {address: %q, database: app, credentials: {username: u_native, passwordFile: %s}}}
  defaultEnvironment: prod
`, orders, standby.Addr(), primary.Addr(), password, stock, maria.Addr(), password))
	p := launch(t, nil, "run", "-f", file)
	p.awaitLog("waiting for credentials")
	p.awaitLog(`"listening"`)

	ctx, cancel := context.WithTimeout(t.Context(), 3*readyLimit)
	defer cancel()
	early := make(chan error, 1)
	go func() {
		s, err := openMariaDB(ctx, stock)
		if err == nil {
			err = s.Exec(ctx, "select 1")
			_ = s.Close()
		}
		early <- err
	}()
	dsn := fmt.Sprintf("host=127.0.0.1 port=%d user=app dbname=app sslmode=disable", orders)
	if _, err := pgx.Connect(ctx, dsn); dbtest.Code(err) != "57P03" || !strings.Contains(fmt.Sprint(err), "credentials") {
		t.Errorf("an app that comes before the credentials: %v", err)
	}
	if code, out := p.waits(5 * time.Second); code != 75 || !strings.Contains(out, "password: no such file or directory") {
		t.Errorf("proxy wait: %d %s", code, out)
	}
	filetest.Put(t, password, dbtest.Password)
	if code, out := p.waits(readyLimit); code != 0 {
		t.Fatalf("proxy wait: %d %s", code, out)
	}
	if err := <-early; err != nil {
		t.Errorf("an app that was held: %v", err)
	}
	redistest.Eventually(t, readyLimit, "an app to be at the primary", func() error { // whose role is asked for once a login is possible
		conn, err := pgx.Connect(ctx, dsn)
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		var inRecovery bool
		if err := conn.QueryRow(ctx, "select pg_is_in_recovery()").Scan(&inRecovery); err != nil || inRecovery {
			t.Errorf("at a standby: %v, %v", inRecovery, err)
		}
		return nil
	})
}
