package mysql

import (
	"fmt"
	"net"
	"os/exec"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/filtertest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// TestClientInterrupt: Ctrl-C in the mariadb client ends the query that runs, by KILL QUERY over a session of its own, with TLS and without.
func TestClientInterrupt(t *testing.T) {
	t.Parallel()
	server, pki := dbtest.StartMariaDB(t), redistest.NewPKI(t)
	for i, option := range []string{"--skip-ssl", "--ssl"} {
		t.Run(option, func(t *testing.T) {
			t.Parallel()
			f := start(t, config(), server.Addr())
			if option == "--ssl" {
				f.listen("tcp", "127.0.0.1:0", pki.ServerConfig())
			}
			query := fmt.Sprintf("select sleep(%d)", 600+i)
			host, port, _ := net.SplitHostPort(f.addr)
			cmd := exec.CommandContext(withTimeout(t), redistest.Binary(t, "mariadb"),
				"--no-defaults", "-h", host, "-P", port, "-u", "app", "-pnone", "--disable-ssl-verify-server-cert", option, "-e", query)
			filtertest.Interrupt(t, cmd, &server.Server, query, "ERROR 1317")
		})
	}
}
