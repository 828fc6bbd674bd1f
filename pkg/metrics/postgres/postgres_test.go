package postgres_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/internal/tooltest"
	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/postgres"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/sqlprobe"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func open(t *testing.T, cfg resource.ServerSource, password string) *postgres.Source {
	t.Helper()
	cfg.Timeout = time.Minute
	cfg.Auth.Password = resource.SecretKey{Name: "p"}
	s, err := postgres.New(&resource.PostgresSource{ServerSource: cfg}, metrics.Env{Secrets: tooltest.Secrets{"p": password}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestRealServers: a primary and its standby, each asked as somebody who may log
// in and no more; pg_monitor also sees the standbys of a primary.
func TestRealServers(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	primary := dbtest.StartPostgres(t, dbtest.PostgresTLS(pki))
	standby := primary.Standby()
	s := open(t, resource.ServerSource{
		Address: primary.Addr(), Database: dbtest.Database, TLS: &resource.MetricsTLS{CAFile: pki.CAFile, ServerName: "localhost"},
		Auth: resource.MetricsAuth{Username: dbtest.TLSUser},
	}, dbtest.Password)
	if err := tooltest.Shows(t, s, "pg_up 1\n", `pg_stat_database_numbackends{datid="`, "pg_replication_is_replica 0\n", "pg_replication_lag_seconds 0\n",
		`pg_stat_activity_count{datname="app",state="active",usename="`+dbtest.TLSUser+`"} 1`+"\n", "pg_settings_max_connections ", `pg_static{short_version="`,
		"# TYPE pg_stat_database_xact_commit counter\n"); err != nil {
		t.Error(err)
	}
	primary.SQL("GRANT pg_monitor TO " + dbtest.TLSUser)
	redistest.Eventually(t, time.Minute, "standby", func() error {
		return tooltest.Shows(t, s, `pg_stat_replication_pg_wal_lsn_diff{application_name="`)
	})
	replica := open(t, resource.ServerSource{Address: standby.Addr(), Database: dbtest.Database, Auth: resource.MetricsAuth{Username: dbtest.SCRAMUser}}, dbtest.Password)
	if err := tooltest.Shows(t, replica, "pg_up 1\n", "pg_replication_is_replica 1\n", "pg_replication_lag_seconds "); err != nil {
		t.Error(err)
	}
}

// TestRestart: pg_up is 0 while the server is away, and a session that it ended is
// no reason to miss a scrape.
func TestRestart(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	s := open(t, resource.ServerSource{Address: server.SocketPath(), Database: dbtest.Database, Auth: resource.MetricsAuth{Username: dbtest.SCRAMUser}}, dbtest.Password)
	if err := tooltest.Shows(t, s, "pg_up 1\n"); err != nil {
		t.Error(err)
	}
	server.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dragoman metrics'")
	if err := tooltest.Shows(t, s, "pg_up 1\n"); err != nil {
		t.Errorf("after the session was ended: %v", err)
	}
	server.Stop()
	if err := tooltest.Shows(t, s, "pg_up 0\n"); err == nil || errors.Is(err, tooltest.ErrNotShown) {
		t.Errorf("a server that is away: %v", err)
	}
}

// TestRefused: who may not log in is told so, without the password.
func TestRefused(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	s := open(t, resource.ServerSource{Address: server.Addr(), Auth: resource.MetricsAuth{Username: dbtest.SCRAMUser}}, "wrong password")
	if err := tooltest.Shows(t, s, "pg_up 0\n"); !errors.Is(err, sqlprobe.ErrRefused) || strings.Contains(err.Error(), "wrong password") {
		t.Errorf("a wrong password: %v", err)
	}
}
