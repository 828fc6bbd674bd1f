package postgres

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// TestPsqlInterrupt: Ctrl-C in psql ends the query that runs, and nothing else. At a listener with TLS too: libpq up to 16 cancels in plain text.
func TestPsqlInterrupt(t *testing.T) {
	t.Parallel()
	server, pki := dbtest.StartPostgres(t), redistest.NewPKI(t)
	for mode, change := range modes() {
		for i, ssl := range []string{"disable", "require"} {
			t.Run(mode+", sslmode "+ssl, func(t *testing.T) {
				t.Parallel()
				cfg := config()
				change(cfg)
				f := start(t, cfg, server.Addr())
				if ssl == "require" {
					f.listen("tcp", "127.0.0.1:0", pki.ServerConfig())
				}
				query := fmt.Sprintf("select pg_sleep(%d) /* %s */", 600+i, mode)
				cmd := exec.CommandContext(withTimeout(t), "psql", "-X", "-d", f.dsn("sslmode="+ssl), "-c", query)
				var out bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &out
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				eventually(t, "the query to run", func() bool {
					return server.SQL("select count(*) from pg_stat_activity where state = 'active' and query = '"+query+"'") == "1"
				})
				if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
					t.Fatal(err)
				}
				if err := cmd.Wait(); err == nil || !strings.Contains(out.String(), "canceling statement due to user request") {
					t.Errorf("psql: %v: %s", err, &out)
				}
			})
		}
	}
}
