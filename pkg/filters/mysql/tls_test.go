package mysql

import (
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// TestDownstreamTLS: an app that insists on TLS gets it, and one that does not use
// it where there is some is refused.
func TestDownstreamTLS(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	f := start(t, config(), dbtest.StartMariaDB(t).Addr())
	f.listen("tcp", "127.0.0.1:0", pki.ServerConfig())
	if got := f.must("\\s\nselect 1", "--ssl", "--ssl-verify-server-cert", "--ssl-ca="+pki.CAFile); !strings.Contains(got, "TLS_AES") || !strings.HasSuffix(got, "1") {
		t.Errorf("the mariadb client gets %q", got)
	}
	if got := query[int](t, f.connect("tls=skip-verify"), "select 7"); got != 7 {
		t.Errorf("go-sql-driver gets %d", got)
	}
	if _, err := f.client("select 1", "--skip-ssl"); err == nil || !strings.Contains(err.Error(), "TLS only") {
		t.Errorf("without TLS: %v", err)
	}
	g := start(t, config(), dbtest.StartMariaDB(t).Addr())
	if _, err := g.client("select 1", "--ssl", "--ssl-verify-server-cert"); err == nil || !strings.Contains(err.Error(), "SSL") {
		t.Errorf("TLS where is none: %v", err)
	}
}
