package postgres

import (
	"encoding/binary"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
)

// slowPostmaster passes connections on to a server, and holds requests to cancel
// back until it is told to let them through.
func slowPostmaster(t *testing.T, server string, letThrough <-chan struct{}) string {
	t.Helper()
	const cancelCode = 80877102
	return relay(t, func(down net.Conn) (net.Conn, net.Conn) {
		packet, err := readPacket(down)
		if err != nil {
			return nil, nil
		}
		if binary.BigEndian.Uint32(packet) == cancelCode {
			<-letThrough
		}
		up, err := net.Dial("tcp", server)
		if err != nil {
			return nil, nil
		}
		_, _ = up.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(packet)+4)), packet...))
		return down, up
	})
}

// TestPoolLateCancel: a request to cancel that a server is slow to take finds no
// other session at the connection that it was for.
func TestPoolLateCancel(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	letThrough := make(chan struct{})
	var once sync.Once
	release := func() { once.Do(func() { close(letThrough) }) }
	defer release()
	f := start(t, pooled("transaction", 1), slowPostmaster(t, server.Addr(), letThrough))
	first, other := f.connect(), f.connect()
	ctx := withTimeout(t)
	answer := make(chan error, 1)
	go func() {
		_, err := first.Exec(ctx, "select pg_sleep(1)")
		answer <- err
	}()
	eventually(t, "the query to run", func() bool {
		return server.Running("select pg_sleep(1)")
	})
	before := server.SQL("select pid from pg_stat_activity where usename = 'u_scram'")
	if err := first.PgConn().CancelRequest(ctx); err != nil { // the proxy gives it up
		t.Fatal(err)
	}
	if err := <-answer; err != nil {
		t.Fatal(err)
	}
	if got := one[string](t, other, "select pg_backend_pid()::text"); got == before {
		t.Error("another session has the connection that a request to cancel may still come to")
	}
	release()
	if got := one[string](t, other, "select pg_backend_pid()::text"); got == before {
		t.Error("the connection is used again")
	}
}

// TestPoolCancelWaiting: what waits for a connection is cancelled as if it ran, and the
// session goes on.
func TestPoolCancelWaiting(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	for _, mode := range []string{"session", "transaction"} {
		for _, exec := range []string{"simple_protocol", "exec", "cache_statement"} {
			t.Run(mode+"/"+exec, func(t *testing.T) {
				t.Parallel()
				cfg := pooled(mode, 1)
				cfg.Limits.MaxWait = time.Minute
				f := start(t, cfg, server.Addr())
				holder, waiter := f.connect(), f.connect("default_query_exec_mode="+exec)
				ctx := withTimeout(t)
				if _, err := holder.Exec(ctx, "begin"); err != nil {
					t.Fatal(err)
				}
				before := f.metric("pool_assignments_total", "waited")
				answer := make(chan error, 1)
				go func() {
					_, err := waiter.Exec(ctx, "select 'waited'")
					answer <- err
				}()
				eventually(t, "the query to wait", func() bool { return f.metric("pool_assignments_total", "waited") > before })
				if err := waiter.PgConn().CancelRequest(ctx); err != nil {
					t.Fatal(err)
				}
				if err := <-answer; dbtest.Code(err) != "57014" {
					t.Errorf("the query: %v", err)
				}
				if got := f.metric("errors_total", "57014"); got != 1 {
					t.Errorf("%v errors are counted", got)
				}
				if err := holder.Close(ctx); err != nil {
					t.Fatal(err)
				}
				if got := one[int](t, waiter, "select 3"); got != 3 {
					t.Errorf("the next query: %d", got)
				}
			})
		}
	}
}
