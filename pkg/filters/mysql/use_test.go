package mysql

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// named is config with a name that the app has for its database.
func named() *resource.MySQLFilter {
	cfg := config()
	cfg.AppDatabases = []string{"shop", "wp-1"}
	return cfg
}

// TestSelectDatabase: an app that selects the database which it named at its login,
// as drivers do to put a connection back into its state, is in the environment's.
func TestSelectDatabase(t *testing.T) {
	t.Parallel()
	server := dbtest.StartMariaDB(t)
	type selection struct{ name, want string } // want: the database then, or the number of an error
	for name, selected := range map[string][]selection{
		"the app's name": {{"placeholder", dbtest.Database}},
		"and back again": {{dbtest.DatabaseDev, dbtest.DatabaseDev}, {"placeholder", dbtest.Database}},
		"its real name":  {{dbtest.Database, dbtest.Database}},
		"another name":   {{"nowhere", "1049"}, {"placeholders", "1049"}, {"Placeholder", "1049"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := start(t, config(), server.Addr()).login(mysqlproto.PluginNative, nil)
			c.read()
			for _, sel := range selected {
				b := c.ask(mysqlproto.ComInitDB, sel.name)
				if b[0] == 0xff {
					if got := fmt.Sprint(binary.LittleEndian.Uint16(b[1:])); got != sel.want {
						t.Errorf("%s: error %s, want %s", sel.name, got, sel.want)
					}
				} else if got := c.value("select database()"); got != sel.want {
					t.Errorf("%s: in %q, want %q", sel.name, got, sel.want)
				}
			}
		})
	}
	t.Run("among others that were sent ahead", func(t *testing.T) {
		t.Parallel()
		c := start(t, config(), server.Addr()).login(mysqlproto.PluginNative, nil)
		c.read()
		var all []byte
		for range 3 {
			all = mysqlproto.AppendPacket(all, 0, []byte{byte(mysqlproto.ComPing)})
			all = mysqlproto.AppendPacket(all, 0, append([]byte{byte(mysqlproto.ComInitDB)}, "placeholder"...))
		}
		if _, err := c.conn.Write(all); err != nil {
			t.Fatal(err)
		}
		isOurs(t, c, 6)
	})
}

// isOurs reads OKs to commands that were sent ahead, and finds the session in the
// environment's database.
func isOurs(t *testing.T, c *bare, answers int) {
	t.Helper()
	for i := range answers {
		c.seq = 1
		if b := c.read(); b[0] != 0 {
			t.Errorf("answer %d: %q", i, b)
		}
	}
	if got := c.value("select database()"); got != dbtest.Database {
		t.Errorf("in %q", got)
	}
}

// TestAppDatabases: an app that logs in without a database and then selects it by a
// name that the document lists is in the environment's, whichever way it does that.
func TestAppDatabases(t *testing.T) {
	t.Parallel()
	f := start(t, named(), dbtest.StartMariaDB(t).Addr())
	db, err := sql.Open("mysql", strings.Replace(f.dsn("multiStatements=true"), "placeholder", "", 1))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(withTimeout(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const away = "use " + dbtest.DatabaseDev
	for text, want := range map[string]string{
		"use shop":                    dbtest.Database,
		"/* app */ USE `shop` ; # it": dbtest.Database,
		"use `wp-1`":                  dbtest.Database,
		"use " + dbtest.Database:      dbtest.Database,
		"use information_schema":      "information_schema",
		"use shops":                   "1049",
		"use Shop":                    "1049",
		"use shop; select 1":          "1049", // a statement among others is the server's affair
		"select * from shop.t":        "1146 1142 1044 1049",
	} {
		execute(t, conn, away)
		_, err := conn.ExecContext(withTimeout(t), text)
		got := dbtest.Code(err)
		if err == nil {
			got = query[string](t, conn, "select database()")
		}
		if !strings.Contains(" "+want+" ", " "+got+" ") {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	if got := f.must("use shop\nselect database();", "-D", ""); got != dbtest.Database {
		t.Errorf("the mariadb client is in %q", got)
	}
}

// TestAppDatabasesChange: what the document lists is so for sessions that are there
// already.
func TestAppDatabasesChange(t *testing.T) {
	t.Parallel()
	f := start(t, config(), dbtest.StartMariaDB(t).Addr())
	conn := f.connect()
	if _, err := conn.ExecContext(withTimeout(t), "use shop"); dbtest.Code(err) != "1049" {
		t.Errorf("a name that nobody has listed: %v", err)
	}
	<-f.swap(named(), filters.Retirement{Deadline: time.Minute})
	execute(t, conn, "use shop")
	if got := query[string](t, conn, "select database()"); got != dbtest.Database {
		t.Errorf("in %q", got)
	}
}

// TestAppDatabaseDumped: a program of the database's own that selects what it was told.
func TestAppDatabaseDumped(t *testing.T) {
	t.Parallel()
	server := dbtest.StartMariaDB(t)
	server.SQL("create table dumped (n int); insert into dumped values (4711)")
	f := start(t, named(), server.Addr())
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	host, port, _ := net.SplitHostPort(f.addr)
	out, err := exec.CommandContext(ctx, redistest.Binary(t, "mariadb-dump"), "--no-defaults", "-h", host, "-P", port, "-u", "app", "-pnone", "shop").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "(4711)") {
		t.Errorf("%v:\n%s", err, out)
	}
}

// TestUseInPieces: a statement that arrives in pieces, among others sent ahead.
func TestUseInPieces(t *testing.T) {
	t.Parallel()
	c := start(t, named(), dbtest.StartMariaDB(t).Addr()).login(mysqlproto.PluginNative, nil)
	c.read()
	var all []byte
	for range 3 {
		all = mysqlproto.AppendPacket(all, 0, append([]byte{byte(mysqlproto.ComQuery)}, "use "+dbtest.DatabaseDev...))
		all = mysqlproto.AppendPacket(all, 0, append([]byte{byte(mysqlproto.ComQuery)}, "use `shop`"...))
	}
	for len(all) > 0 {
		n := min(5, len(all))
		if _, err := c.conn.Write(all[:n]); err != nil {
			t.Fatal(err)
		}
		all = all[n:]
	}
	isOurs(t, c, 6)
}

func TestParseUse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"use shop": "shop", "USE\tshop;": "shop", " use `a``b`": "a`b", "use`shop`": "shop", "Use/*x*/shop/*y*/;-- z": "shop", "# x\nuse shop\n": "shop",
		"use шоп": "шоп", "use shop ; ; ": "shop",
		"use": "", "use ": "", "use ;": "", "use ``": "", "use `": "", "use `shop": "", "user shop": "", "use shop t": "", "use shop; use shop": "",
		"use 'shop'": "", "use \"shop\"": "", "/*! use shop */": "", "update t set n = 1": "", "": "",
	} {
		got, ok := parseUse([]byte(text))
		if !ok {
			got = ""
		} else if !mayBeOurs([]byte(text)) {
			t.Errorf("%q is not looked at", text)
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
