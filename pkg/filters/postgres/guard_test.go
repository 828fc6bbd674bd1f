package postgres

import (
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestRequireAuth: a server that asks for less than the document wants gets no login, and no password.
func TestRequireAuth(t *testing.T) {
	t.Parallel()
	db := dbtest.StartPostgres(t)
	tests := []struct {
		name, user string
		required   resource.LoginMethods
		want       string
	}{
		{"SCRAM where SCRAM is wanted", dbtest.SCRAMUser, resource.LoginSCRAM, ""},
		{"MD5 where SCRAM is wanted", dbtest.MD5User, resource.LoginSCRAM, "method refused"},
		{"MD5 where either will do", dbtest.MD5User, resource.LoginSCRAM | resource.LoginMD5, ""},
		{"nothing where SCRAM is wanted", dbtest.TrustUser, resource.LoginSCRAM, "method refused"},
		{"nothing where nothing is wanted", dbtest.TrustUser, resource.LoginNone, ""},
		{"SCRAM where nothing is wanted", dbtest.SCRAMUser, resource.LoginNone, "method refused"},
		{"the password itself, wanted, without TLS", dbtest.CleartextUser, resource.LoginPassword, "method refused"},
		{"anything", dbtest.TrustUser, 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := config()
			cfg.RequireAuth = tt.required
			f := start(t, cfg, db.Addr())
			f.world.set("user", tt.user)
			got, err := f.psql("select 1")
			switch {
			case tt.want == "" && (err != nil || got != "1"):
				t.Errorf("got %q, %v", got, err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %q, %v, want an error with %q", got, err, tt.want)
			}
		})
	}
}

// TestConnectStorm: of many clients that come at once only so many are shown to the server at a time, and all get in.
func TestConnectStorm(t *testing.T) {
	t.Parallel()
	const clients, limit = 30, 3
	var busy, most atomic.Int64
	release := make(chan struct{})
	addr := fake(t, func(c net.Conn) {
		n := busy.Add(1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() { //nolint:revive // until it is in
		}
		if _, err := readPacket(c); err != nil {
			return
		}
		<-release
		busy.Add(-1) // before the proxy can know
		out := pgproto.AppendAuthentication(nil, pgproto.AuthOK, nil)
		out = pgproto.AppendReadyForQuery(out, pgproto.TxIdle)
		_, _ = c.Write(out)
		var rest [1]byte
		_, _ = c.Read(rest[:])
	})
	cfg := config()
	cfg.Limits.MaxConnecting = limit
	f := start(t, cfg, addr)
	var wg sync.WaitGroup
	for range clients {
		c := f.dial()
		if _, err := c.Write(hello(t)); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			var answer [9]byte
			if _, err := c.Read(answer[:]); err != nil || answer[0] != pgproto.TypeAuthentication {
				t.Errorf("a client gets %q, %v", answer, err)
			}
		})
	}
	eventually(t, "all clients are there, and as many logins as may be", func() bool {
		return f.metric("downstream_connections_total") == clients && busy.Load() == limit
	})
	for name, want := range map[string]float64{
		"upstream_connecting": limit, "upstream_connect_queue": clients - limit, "upstream_connect_queued_total": clients - limit, "upstream_connect_queue_left_total": 0,
	} {
		eventually(t, name, func() bool { return f.metric(name) == want })
	}
	close(release)
	wg.Wait()
	if got := most.Load(); got != limit {
		t.Errorf("%d logins at once, want %d", got, limit)
	}
}

// TestConnectStormEnds: who waits for its turn longer than limits.maxWait is told so.
func TestConnectStormEnds(t *testing.T) {
	t.Parallel()
	stop := make(chan struct{})
	addr := fake(t, func(net.Conn) { <-stop })
	cfg := config()
	cfg.Limits.MaxConnecting, cfg.Limits.MaxWait = 1, 300e6
	f := start(t, cfg, addr)
	t.Cleanup(func() { close(stop) })
	first := f.dial()
	if _, err := first.Write(hello(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first client's turn", func() bool { return f.builder.dials.Open() == 1 })
	if _, err := f.psql("select 1"); err == nil || !strings.Contains(err.Error(), "too many sessions begin") {
		t.Errorf("got %v", err)
	}
	if got := f.metric("upstream_connect_queue_left_total"); got != 1 {
		t.Errorf("%v have left the queue, want 1", got)
	}
}
