package e2e

import (
	"strconv"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
)

// TestJDBCPools runs PostgreSQL's driver of Java, whose app has to give a password, with sessions that have a server each and with those that share some.
func TestJDBCPools(t *testing.T) {
	t.Parallel()
	for name, pool := range map[string]string{
		"no pool":     "",
		"session":     ", pool: {mode: Session, size: 4}",
		"transaction": ", pool: {mode: Transaction, size: 4}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kind := postgresKind()
			kind.settings = "appAuth: {username: app, passwordEnv: FIRST_SECRET}" + pool
			d := startDatabases(t, kind, "  limits: {maxWait: 90s}\n") // a crowd of 12 shares four
			driver := javaClient{"Postgres.java", "/usr/share/java/postgresql.jar"}
			out, stderr := runJava(t, driver, "127.0.0.1", strconv.Itoa(d.port), dbtest.Password)
			if !strings.HasSuffix(out, "all passed\n") {
				t.Errorf("%s%s", out, stderr)
			}
		})
	}
}
