package dbtest_test

import (
	"context"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// TestFakeMySQLTakesRealClients shows that MariaDB's client, which knows MySQL's methods, agrees with the fake server about them.
func TestFakeMySQLTakesRealClients(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	query := func(f *dbtest.FakeMySQL, password string, args ...string) string {
		t.Helper()
		host, port, err := net.SplitHostPort(f.Addr())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		args = append([]string{"--no-defaults", "-N", "-B", "-h", host, "-P", port, "-u", "joe", "--password=" + password, "-e", "SELECT 'it works'"}, args...)
		out, err := exec.CommandContext(ctx, redistest.Binary(t, "mariadb"), args...).CombinedOutput()
		if err != nil {
			return err.Error() + " " + string(out)
		}
		return strings.TrimSpace(string(out))
	}
	for _, tt := range []struct {
		plugin string
		args   []string
		want   string
	}{
		{dbtest.CachingSHA2, []string{"--skip-ssl"}, "rsa fast denied"},
		{dbtest.CachingSHA2, []string{"--ssl", "--ssl-verify-server-cert", "--ssl-ca=" + pki.CAFile}, "cleartext fast denied"},
		{dbtest.SHA256, []string{"--skip-ssl"}, "rsa rsa denied"},
		{dbtest.SHA256, []string{"--ssl", "--ssl-ca=" + pki.CAFile}, "cleartext cleartext denied"},
	} {
		f := dbtest.StartFakeMySQL(t, tt.plugin, pki)
		for range 2 {
			if got := query(f, dbtest.Password, tt.args...); got != "SELECT 'it works'" {
				t.Errorf("%s, %v: %s", tt.plugin, tt.args, got)
			}
		}
		if got := query(f, "wrong", tt.args...); !strings.Contains(got, "1045 (28000)") {
			t.Errorf("%s, %v, wrong password: %s", tt.plugin, tt.args, got)
		}
		if got := strings.Join(f.Logins(), " "); got != tt.want {
			t.Errorf("%s, %v: logged in by %q, want %q", tt.plugin, tt.args, got, tt.want)
		}
	}
}
