package postgres

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestVersion32: a client that insists on version 3.2 gets it where the proxy speaks to it by itself, whatever version the server speaks: all
// that differs is the length of the key for requests to cancel.
func TestVersion32(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t) // which speaks 3.0
	for name, cfg := range map[string]*resource.PostgresFilter{
		"an app that is checked": withAppAuth(config()),
		"a pool of sessions":     pooled("session", 3),
		"a pool of transactions": pooled("transaction", 2),
		"both":                   withAppAuth(pooled("transaction", 2)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, cfg, server.Addr())
			f.world.Set("app", "none")
			for _, versions := range [][]string{{"min_protocol_version=3.2"}, {"max_protocol_version=latest"}, {"max_protocol_version=3.0"}} {
				conn := f.connect(versions...)
				query := "select pg_sleep(600), '" + name + versions[0] + "'"
				ended := make(chan error, 1)
				go func() {
					_, err := conn.Exec(context.Background(), query)
					ended <- err
				}()
				eventually(t, "the query to run", func() bool { return server.Running(query) })
				if err := conn.PgConn().CancelRequest(withTimeout(t)); err != nil {
					t.Fatal(err)
				}
				if err := <-ended; dbtest.Code(err) != "57014" {
					t.Errorf("%q: the query ended with %v", versions, err)
				}
			}
		})
	}
	f := start(t, config(), server.Addr())
	if _, err := pgx.Connect(withTimeout(t), f.dsn("min_protocol_version=3.2")); err == nil {
		t.Error("a server's own version is another, and a session of its own has begun")
	}
}

// TestVersionStays: what a client was told of the version holds for the server that it gets in the end.
func TestVersionStays(t *testing.T) {
	t.Parallel()
	s, c := roleStage(t, nothing)
	s.feed(s.client, startupPacket(t, pgproto.Startup{
		Kind: pgproto.StartupMessage, Version: pgproto.Version32,
		Params: []pgproto.Param{{Name: "user", Value: "app"}, {Name: "_pq_.a", Value: "1"}, {Name: "_pq_.b", Value: "1"}},
	}))
	b := pgproto.AppendNegotiateProtocolVersion(nil, pgproto.Version30, []string{"_pq_.b"})
	s.feed(s.servers[0], append(b, fatal(pgproto.StateCannotConnectNow, "the database system is shutting down", "")...))
	c.a.SetHealthy(false)
	c.set(c.b)
	s.loop.Advance(database.LookEvery)
	if len(s.servers) != 2 {
		t.Fatalf("%d connections", len(s.servers))
	}
	packet, _, err := pgproto.ParseStartup(s.servers[1].TakeOutput(), limits())
	_, a := packet.Get("_pq_.a")
	if _, b := packet.Get("_pq_.b"); err != nil || packet.Version != pgproto.Version30 || !a || b {
		t.Errorf("the other server gets %+v, %v", packet, err)
	}
}
