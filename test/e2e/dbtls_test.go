package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// tlsModes are what a document can demand of a database's TLS, and what comes of it at a server with TLS and at one without: "TLS", "plain",
// or a part of the error.
var tlsModes = []struct{ name, tls, secure, plain string }{
	{"disable", "mode: disable", "plain", "plain"},
	{"prefer", "mode: prefer", "TLS", "plain"},
	{"require", "mode: require", "TLS", "does not offer TLS"},
	{"verify-ca", "mode: verify-ca, caFile: CA", "TLS", "does not offer TLS"},
	{"verify-ca, another name", "mode: verify-ca, caFile: CA, serverName: elsewhere", "TLS", "does not offer TLS"},
	{"verify-ca, another authority", "mode: verify-ca, caFile: OTHER", "dragoman:", "does not offer TLS"},
	{"verify-full", "mode: verify-full, caFile: CA", "TLS", "does not offer TLS"},
	{"verify-full, another name", "mode: verify-full, caFile: CA, serverName: elsewhere", "dragoman:", "does not offer TLS"},
}

// TestDatabaseTLSModes: each mode of TLS, as documents have it, at each kind of database, with TLS and without.
func TestDatabaseTLSModes(t *testing.T) {
	t.Parallel()
	pki, others := redistest.NewPKI(t), redistest.NewPKI(t)
	kinds := []struct {
		protocol, user string
		secure, plain  string // addresses
		ask            func(ctx context.Context, port int) (string, error)
	}{
		{"postgres", dbtest.SCRAMUser, dbtest.StartPostgres(t, dbtest.PostgresTLS(pki)).Addr(), dbtest.StartPostgres(t).Addr(), postgresTLS},
		{"mysql", dbtest.NativeUser, dbtest.StartMariaDB(t, dbtest.MariaDBTLS(pki)).Addr(), dbtest.StartMariaDB(t).Addr(), mariadbTLS},
	}
	type place struct {
		name, want string
		port       int
		ask        func(ctx context.Context, port int) (string, error)
	}
	var places []place
	var documents []string
	files := strings.NewReplacer("CA", pki.CAFile, "OTHER", others.CAFile)
	for _, kind := range kinds {
		for _, mode := range tlsModes {
			for server, want := range map[string]string{kind.secure: mode.secure, kind.plain: mode.plain} {
				port := redistest.Port(t)
				places = append(places, place{fmt.Sprintf("%s, %s, want %s", kind.protocol, mode.name, want), want, port, kind.ask})
				documents = append(documents, fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: db-%d}
spec:
  protocol: %s
  listen: {port: %d}
  environments: {prod: {address: %q, database: app, tls: {%s}, credentials: {username: %s, passwordEnv: FIRST_SECRET}}}
  defaultEnvironment: prod
`, port, kind.protocol, port, server, files.Replace(mode.tls), kind.user))
			}
		}
	}
	file := writeFile(t, filepath.Join(t.TempDir(), "mesh.yaml"), strings.Join(documents, "---\n"))
	p := launch(t, []string{"FIRST_SECRET=" + dbtest.Password}, "run", "-f", file)
	p.awaitReady()
	for _, at := range places {
		t.Run(at.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), readyLimit)
			defer cancel()
			got, err := at.ask(ctx, at.port)
			if err != nil {
				got = err.Error()
			}
			if got != at.want && (err == nil || !strings.Contains(got, at.want)) {
				t.Errorf("got %q, want %q", got, at.want)
			}
		})
	}
}

// postgresTLS asks a server how it is spoken to.
func postgresTLS(ctx context.Context, port int) (how string, err error) {
	conn, err := pgx.Connect(ctx, fmt.Sprintf("host=127.0.0.1 port=%d user=app sslmode=disable", port))
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	err = conn.QueryRow(ctx, "select case when ssl then 'TLS' else 'plain' end from pg_stat_ssl where pid = pg_backend_pid()").Scan(&how)
	return how, err
}

func mariadbTLS(ctx context.Context, port int) (how string, err error) {
	s, err := openMariaDB(ctx, port)
	if err != nil {
		return "", err
	}
	defer s.end()
	err = s.(mariaDBSession).conn.QueryRowContext(ctx,
		"select if(variable_value = '', 'plain', 'TLS') from information_schema.session_status where variable_name = 'ssl_cipher'").Scan(&how)
	return how, err
}
