package dbtest_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

func TestPostgresKeepsItsDataOverARestart(t *testing.T) {
	t.Parallel()
	p := dbtest.StartPostgres(t, dbtest.PostgresTLS(redistest.NewPKI(t)))
	p.SQL("create table kept (x int); insert into kept values (7)")
	p.Stop()
	if _, err := net.DialTimeout("tcp", p.Addr(), time.Second); err == nil {
		t.Error("somebody listens on the port of a stopped server")
	}
	p.Restart()
	if got := p.SQL("select x from kept"); got != "7" {
		t.Errorf("after a restart: %q, want 7", got)
	}
	p.Kill()
	p.Restart()
	if got := p.SQL("select x from kept"); got != "7" {
		t.Errorf("after a crash: %q, want 7", got)
	}
}

func TestPostgresFrozenAcceptsAndIsSilent(t *testing.T) {
	t.Parallel()
	p := dbtest.StartPostgres(t)
	p.Freeze()
	conn, err := net.DialTimeout("tcp", p.Addr(), 5*time.Second)
	if err != nil {
		t.Fatalf("the kernel no longer accepts: %v", err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("\x00\x00\x00\x08\x04\xd2\x16\x2f")); err != nil { // SSLRequest
		t.Fatal(err)
	}
	answer := make([]byte, 1)
	if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(answer); err == nil {
		t.Fatalf("a frozen server says %q", answer[:n])
	}
	p.Thaw()
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(answer); err != nil || answer[0] != 'N' {
		t.Errorf("thawed: %q, %v; want N", answer, err)
	}
}

func TestPostgresStandbyIsPromoted(t *testing.T) {
	t.Parallel()
	primary := dbtest.StartPostgres(t)
	primary.SQL("create table t (x int); insert into t values (1)")
	standby := primary.Standby()
	if got := standby.SQL("select pg_is_in_recovery(), (select count(*) from t)"); got != "t|1" {
		t.Fatalf("standby: %q, want t|1", got)
	}
	if _, err := standby.TrySQL(dbtest.Database, "insert into t values (2)"); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("writing to a standby: %v", err)
	}
	primary.Kill()
	standby.Promote()
	if got := standby.SQL("insert into t values (2); select count(*) from t"); got != "2" {
		t.Errorf("promoted: %q, want 2", got)
	}
}
