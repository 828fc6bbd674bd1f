package mysql

import (
	"strconv"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/filtertest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestKnocks: a server counts connections that end before the login against the host that they come from, and blocks that at a hundred of them in
// a row. Who only looks whether the port is open, or has the wrong password for the proxy, makes none.
func TestKnocks(t *testing.T) {
	t.Parallel()
	for name, tls := range map[string]*redistest.PKI{"plain": nil, "TLS": redistest.NewPKI(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var options []dbtest.MariaDBOption
			if tls != nil {
				options = append(options, dbtest.MariaDBTLS(tls))
			}
			server := dbtest.StartMariaDB(t, options...)
			status := func(name string) int {
				n, err := strconv.Atoi(server.SQL("select variable_value from information_schema.global_status where variable_name = '" + name + "'"))
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
			cfg := config()
			cfg.AppAuth = &resource.AppAuth{Password: resource.SecretKey{Name: "app"}}
			f := start(t, cfg, server.Addr())
			if tls != nil {
				f.main().Lead(filtertest.Trusting(t, tls, "localhost"), server.Addr())
			}
			f.world.Set("app", "open sesame")
			aborted := status("aborted_connects")
			for n := range 6 {
				c := f.dial()
				if n%3 > 0 { // the others do not wait for the greeting
					c.greet()
				}
				if n%3 == 2 {
					c.respond(mysqlproto.NativeResponse("other", c.greeting.Scramble))
					if b := c.read(); b[0] != 0xff {
						t.Errorf("with a wrong password: %q", b)
					}
				}
				if err := c.conn.Close(); err != nil {
					t.Error(err)
				}
			}
			eventually(t, "the sessions to end", func() bool {
				return f.builder.Open() == 0 && server.Sessions(dbtest.NativeUser) == 0 && server.Sessions("unauthenticated user") == 0
			})
			if got := status("aborted_connects"); got != aborted {
				t.Errorf("the server counts %d connections that end before the login", got-aborted)
			}
		})
	}
}
