package mysql

import (
	"cmp"
	"context"
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
		User:   dbtest.NativeUser,
		Server: func(tb testing.TB) *dbtest.Server { return &dbtest.StartMariaDB(tb).Server },
		Small: func(tb testing.TB) *dbtest.Server {
			return &dbtest.StartMariaDB(tb, dbtest.MariaDBSetting("max-connections", "10")).Server
		},
		Config: func(change func(*resource.DatabaseFilter)) any {
			cfg := config()
			change(&cfg.DatabaseFilter)
			return cfg
		},
		Start: func(tb testing.TB, cfg any, otherLimit time.Duration, addresses ...string) *filtertest.Fixture {
			return startTuned(tb, func(b *Builder) { b.otherLimit = cmp.Or(otherLimit, b.otherLimit) }, cfg.(*resource.MySQLFilter), addresses...).shared()
		},
		Codes: filtertest.Codes{Retired: "1053", Class: "08", Syntax: "1064"},
		Statements: filtertest.Statements{
			Session: "select connection_id()", Sleep: "select sleep(%d)",
			Password: "alter user u_native@'%%' identified by '%s'",
			Lock:     "select get_lock('busy', 600)", Unlock: "select release_lock('busy')",
			Await: "select get_lock('busy', 600) + release_lock('busy')",
		},
		Refusals: denied,
		Denied:   "1045 (28000): Access denied for user 'u_native'", Full: "1040",
	})
}

func (f *fixture) shared() *filtertest.Fixture {
	return &filtertest.Fixture{
		Stand: f.Stand, Client: func(sql string) (string, error) { return f.client(sql) }, Knock: func() { f.dial() },
		Work: func(ctx context.Context, w *dbtest.Work) error { return dbtest.WorkMySQL(ctx, f.dsn(), w) },
		Open: func(ctx context.Context) (dbtest.Session, error) { return dbtest.ConnectMySQL(ctx, f.dsn()) },
	}
}
