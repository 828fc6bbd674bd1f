package mysql

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
)

// TestNoRoomForTheUser: a server at which the user has as many sessions as it may is passed by while another has room, as one that is full; else
// the app hears what it says.
func TestNoRoomForTheUser(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ option, grant, want string }{
		"all users": {"4", "revoke super, connection admin on *.* from u_native@'%'", "1203"},
		"this user": {"0", "alter user u_native@'%' with max_user_connections 4", "1226"},
		"an hour":   {"0", "alter user u_native@'%' with max_connections_per_hour 4", "1226"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			full := dbtest.StartMariaDB(t, dbtest.MariaDBSetting("max-user-connections", tc.option))
			full.SQL(tc.grant)
			f := start(t, config(), full.Addr())
			var err error
			for n := 0; err == nil; n++ {
				var conn *sql.Conn
				if conn, err = f.open().Conn(withTimeout(t)); err == nil {
					t.Cleanup(func() { _ = conn.Close() })
				}
				if n > 20 {
					t.Fatal("there is room for any number")
				}
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("where there is no other: %v, want %s", err, tc.want)
			}
			g := start(t, config(), full.Addr(), dbtest.StartMariaDB(t).Addr())
			noted := false
			for range 6 {
				query[int](t, g.connect(), "select 1")
				noted = noted || g.main().Table().Shards[0].Primary.RefusedLately()
			}
			if !noted {
				t.Error("it is not known of the server that it refuses")
			}
		})
	}
}
