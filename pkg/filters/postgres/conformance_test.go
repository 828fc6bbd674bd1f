package postgres

import (
	"cmp"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/filtertest"
	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
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
	for name, cfg := range map[string]*resource.PostgresFilter{"without a password": config(), "with a password of the app": withAppAuth(config())} {
		g := start(t, cfg, full.Addr(), other.Addr())
		g.world.Set("app", "none")
		for range 6 {
			if got := one[int](t, g.connect(), "select 1"); got != 1 {
				t.Errorf("%s: %d", name, got)
			}
		}
	}
}

// TestCheckedAppGoesElsewhere: an app that has shown its password already is like any other, where a server begins, ends or hangs up.
func TestCheckedAppGoesElsewhere(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(s *stage){
		"begins or ends": func(s *stage) {
			s.feed(s.servers[0], fatal(pgproto.StateCannotConnectNow, "the database system is shutting down", ""))
		},
		"hangs up":          func(s *stage) { s.servers[0].FeedEOF() },
		"has lost its role": func(*stage) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c := roleStage(t, func(cfg *resource.PostgresFilter) {
				withAppAuth(cfg).AppAuthMethod = resource.PostgresPassword
			})
			s.world.Set("app", "right")
			s.feed(s.client, hello(t))
			s.feed(s.client, pgproto.AppendPassword(nil, "right"))
			s.client.TakeOutput()
			if len(s.servers) != 1 {
				t.Fatalf("%d connections", len(s.servers))
			}
			c.a.SetHealthy(false)
			end(s)
			s.loop.Turn()
			c.set(c.b)
			s.loop.Advance(database.LookEvery)
			s.loop.Turn()
			if len(s.servers) != 2 {
				t.Fatalf("%d connections; the client gets %q", len(s.servers), s.client.TakeOutput())
			}
			b := pgproto.AppendAuthentication(nil, pgproto.AuthOK, nil)
			s.feed(s.servers[1], pgproto.AppendReadyForQuery(b, pgproto.TxIdle))
			s.script("c < R\nc < Z I\nc > Q a")
		})
	}
}
