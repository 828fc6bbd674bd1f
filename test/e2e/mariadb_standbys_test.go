package e2e

import (
	"context"
	"fmt"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

func mariadbPair(t *testing.T) (user string, primary, standby *dbtest.Server, promote func()) {
	t.Helper()
	user = "plain" // may not write where read_only is set
	a := dbtest.StartMariaDB(t, dbtest.MariaDBPrimary())
	b := a.Replica()
	a.SQL("CREATE TABLE log (worker INT, n INT, part INT) ENGINE=InnoDB; CREATE USER " + user + " IDENTIFIED BY '" + dbtest.Password + "'; GRANT SELECT, INSERT ON app.* TO " + user)
	redistest.Eventually(t, readyLimit, "the user to be replicated", func() error {
		if n, err := b.TrySQL(dbtest.Database, "SELECT COUNT(*) FROM mysql.user WHERE user = '"+user+"'"); n != "1" {
			return fmt.Errorf("%q, %w", n, err)
		}
		return nil
	})
	return user, &a.Server, &b.Server, func() { b.SQL("STOP SLAVE; SET GLOBAL read_only = 0") }
}

// TestMariaDBSwitchover: clients write, the primary is made read only and the replica takes writes; everybody goes on there. The port for reads
// leads to the one that does not write. Then the new primary dies and the old one is told to write again.
func TestMariaDBSwitchover(t *testing.T) {
	t.Parallel()
	user, a, b, promote := mariadbPair(t)
	d := startReplicated(t, mariadbKind(), user, "", a, b)
	ctx, cancel := context.WithTimeout(context.Background(), 3*clientLimit)
	defer cancel()
	reader := d.connect(ctx, d.readsPort)
	if port, err := d.at(ctx, reader); err != nil || port != b.Port() {
		t.Errorf("a session of the port for reads is at %d, %v", port, err)
	}
	if code := dbtest.Code(reader.Exec(ctx, "INSERT INTO log VALUES (1, 1, 1)")); code != "1290" && code != "1792" {
		t.Errorf("a write over the port for reads: %s", code)
	}
	committedAt, stop := d.writers(3)
	d.awaitWork(committedAt, a, 20)
	a.SQL("SET GLOBAL read_only = 1")
	redistest.Eventually(t, readyLimit, "the replica to have all", func() error {
		want := a.SQL("SELECT @@gtid_binlog_pos")
		if got := b.SQL("SELECT @@gtid_slave_pos"); got != want {
			return fmt.Errorf("%s, want %s", got, want)
		}
		return nil
	})
	promote()
	d.awaitWork(committedAt, b, 20)
	d.awaitShows("/clusters", "::"+b.Addr()+"::role::primary")
	b.Kill()
	a.SQL("SET GLOBAL read_only = 0")
	d.awaitWork(committedAt, a, 20)
	stop()
	if got := a.SQL("SELECT COUNT(*) FROM (SELECT worker, n FROM log GROUP BY worker, n HAVING COUNT(*) <> 2) x"); got != "0" {
		t.Errorf("%s torn transactions", got)
	}
	redistest.Eventually(t, readyLimit, "no session but that of the health check to be left", func() error {
		if n := a.Sessions(user); n != 1 {
			return fmt.Errorf("%d sessions", n)
		}
		return nil
	})
}
