package postgres

import (
	"fmt"
	"os/exec"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/filtertest"
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
				filtertest.Interrupt(t, cmd, &server.Server, query, "canceling statement due to user request")
			})
		}
	}
}
