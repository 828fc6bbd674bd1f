package dbtest_test

import (
	"net"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

func TestMariaDBKeepsItsDataOverARestart(t *testing.T) {
	t.Parallel()
	m := dbtest.StartMariaDB(t, dbtest.MariaDBTLS(redistest.NewPKI(t)), dbtest.MariaDBSetting("max-connections", "77"))
	if got := m.SQL("CREATE TABLE kept (x INT); INSERT INTO kept VALUES (7); SELECT @@have_ssl, @@max_connections"); got != "YES\t77" {
		t.Errorf("got %q", got)
	}
	m.Stop()
	if _, err := net.DialTimeout("tcp", m.Addr(), time.Second); err == nil {
		t.Error("somebody listens on the port of a stopped server")
	}
	m.Restart()
	if got := m.SQL("SELECT x FROM kept"); got != "7" {
		t.Errorf("after a restart: %q, want 7", got)
	}
	m.Kill()
	m.Restart()
	if got := m.SQL("SELECT x FROM kept"); got != "7" {
		t.Errorf("after a crash: %q, want 7", got)
	}
}

func TestMariaDBFrozenAcceptsAndIsSilent(t *testing.T) {
	t.Parallel()
	m := dbtest.StartMariaDB(t)
	m.Freeze()
	conn, err := net.DialTimeout("tcp", m.Addr(), 5*time.Second)
	if err != nil {
		t.Fatalf("the kernel no longer accepts: %v", err)
	}
	defer conn.Close()
	greeting := make([]byte, 1)
	if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(greeting); err == nil {
		t.Fatal("a frozen server greets")
	}
	m.Thaw()
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(greeting); err != nil {
		t.Errorf("thawed: %v", err)
	}
}
