package postgres

import (
	"cmp"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/filtertest"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestConformance runs what holds for the filters of all databases.
func TestConformance(t *testing.T) {
	t.Parallel()
	filtertest.Conformance(t, &filtertest.Protocol{
		User:   dbtest.SCRAMUser,
		Server: func(tb testing.TB) *dbtest.Server { return &dbtest.StartPostgres(tb).Server },
		Small: func(tb testing.TB) *dbtest.Server {
			return &dbtest.StartPostgres(tb, dbtest.PostgresSetting("max_connections", "8"), dbtest.PostgresSetting("superuser_reserved_connections", "0")).Server
		},
		Config: func(change func(*resource.DatabaseFilter)) any {
			cfg := config()
			change(&cfg.DatabaseFilter)
			return cfg
		},
		Start: func(tb testing.TB, cfg any, otherLimit time.Duration, addresses ...string) *filtertest.Fixture {
			return startTuned(tb, func(b *Builder) { b.otherLimit = cmp.Or(otherLimit, b.otherLimit) }, cfg.(*resource.PostgresFilter), addresses...).shared()
		},
		Codes: filtertest.Codes{Retired: "57P01", Class: "57", Idle: "57P05", Syntax: "42601"},
		Statements: filtertest.Statements{
			Session: "select pg_backend_pid()", Sleep: "select pg_sleep(%d)",
			Password: "alter role u_scram password '%s'",
			Lock:     "select pg_advisory_lock(1)", Unlock: "select pg_advisory_unlock(1)", Await: "select pg_advisory_lock(1)",
		},
		Refusals: func(s *dbtest.Server) int {
			return strings.Count(s.Output(), "password authentication failed for user")
		},
		Denied: `password authentication failed for user "u_scram"`, Full: "FATAL", Unasked: true,
	})
}

func (f *fixture) shared() *filtertest.Fixture {
	return &filtertest.Fixture{
		Stand: f.Stand, Client: func(sql string) (string, error) { return f.psql(sql) },
		Work: func(ctx context.Context, w *dbtest.Work) error { return dbtest.WorkPostgres(ctx, f.dsn(), w) },
		Open: func(ctx context.Context) (dbtest.Session, error) { return dbtest.ConnectPostgres(ctx, f.dsn()) },
		Knock: func() {
			if _, err := f.dial().Write(hello(f.tb)); err != nil {
				f.tb.Fatal(err)
			}
		},
	}
}

// TestNoRoomButForSuperusers: where the last connections are kept for superusers, a server says that it has no room only once it knows who comes.
func TestNoRoomButForSuperusers(t *testing.T) {
	t.Parallel()
	full, other := dbtest.StartPostgres(t, dbtest.PostgresSetting("max_connections", "8")), dbtest.StartPostgres(t)
	f := start(t, config(), full.Addr()).shared()
	var err error
	for n := 0; err == nil; n++ {
		var s dbtest.Session
		if s, err = f.Open(filtertest.Context(t)); err == nil {
			t.Cleanup(func() { _ = s.Close() })
		}
		if n > 20 {
			t.Fatal("there is room for any number")
		}
	}
	if !strings.Contains(err.Error(), "reserved") {
		t.Errorf("where there is no other: %v", err)
	}
	g := start(t, config(), full.Addr(), other.Addr()).shared()
	for range 6 {
		g.Connect()
	}
}
