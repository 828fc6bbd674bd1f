package postgres

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// anybody is TLS with whoever answers, as tls.mode prefer and require have it.
func anybody() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}
}

// preferring is a filter with tls.mode prefer, or require if TLS is not optional.
func preferring(t *testing.T, optional bool, user, addr string) *fixture {
	t.Helper()
	cfg := config()
	cfg.TLSOptional = optional
	f := startTuned(t, func(b *Builder) { b.otherLimit = 100 * time.Millisecond }, cfg)
	f.main().Lead(anybody(), addr)
	f.world.Set("user", user)
	return f
}

// TestTLSPreferred: with tls.mode prefer a server decides by its pg_hba.conf whether it wants TLS. What it decides about a password is final: the
// proof of it is not shown again in plain text.
func TestTLSPreferred(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	server := dbtest.StartPostgres(t, dbtest.PostgresTLS(pki),
		dbtest.PostgresHBA("hostssl all "+dbtest.ReadOnlyUser+" all scram-sha-256"), dbtest.PostgresHBA("hostnossl all "+dbtest.ReadOnlyUser+" all trust"),
		dbtest.PostgresHBA("hostssl all "+dbtest.CleartextUser+" all reject"), dbtest.PostgresHBA("hostnossl all "+dbtest.CleartextUser+" all password"),
		dbtest.PostgresHBA("host all "+dbtest.MD5User+" all reject"))
	tests := []struct {
		name, user, password string
		optional             bool
		plain                bool   // is tried
		want                 string // is TLS in use; or a part of the error
	}{
		{"TLS and plain text will do", dbtest.SCRAMUser, dbtest.Password, true, false, "t"},
		{"hostssl", dbtest.TLSUser, dbtest.Password, true, false, "t"},
		{"hostnossl", dbtest.NoTLSUser, dbtest.Password, true, true, "f"},
		{"hostnossl, TLS is demanded", dbtest.NoTLSUser, dbtest.Password, false, false, "SSL encryption"},
		{"hostnossl, wrong password", dbtest.NoTLSUser, "wrong one", true, true, "password authentication failed"},
		{"wrong password over TLS, none is needed without", dbtest.ReadOnlyUser, "wrong one", true, false, "password authentication failed"},
		{"hostnossl and the password itself", dbtest.CleartextUser, dbtest.Password, true, true, "method refused"},
		{"a certificate is demanded", dbtest.CertUser, dbtest.Password, true, true, "requires a valid client certificate"},
		{"neither", dbtest.MD5User, dbtest.Password, true, true, "SSL encryption"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := preferring(t, tt.optional, tt.user, server.Addr())
			f.world.Set("password", tt.password)
			got, err := f.psql("select ssl from pg_stat_ssl where pid = pg_backend_pid()")
			if err != nil {
				got = err.Error()
			}
			if got != tt.want && (err == nil || !strings.Contains(got, tt.want)) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if tried := strings.Contains(f.log.String(), "trying in plain text"); tried != tt.plain {
				t.Errorf("plain text is tried: %v, want %v", tried, tt.plain)
			}
		})
	}
}

// TestTLSPreferredSession: a session that has found its way in plain text is one like others, with a pool and without.
func TestTLSPreferredSession(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t, dbtest.PostgresTLS(redistest.NewPKI(t)))
	for mode, change := range modes() {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			cfg := config()
			change(cfg)
			cfg.TLSOptional = true
			f := start(t, cfg)
			f.main().Lead(anybody(), server.Addr())
			f.world.Set("user", dbtest.NoTLSUser)
			conn, ended := f.connect(), make(chan error, 1)
			if one[bool](t, conn, "select ssl from pg_stat_ssl where pid = pg_backend_pid()") {
				t.Error("the server has let it in over TLS")
			}
			query := "select pg_sleep(600), '" + mode + "'"
			go func() {
				_, err := conn.Exec(withTimeout(t), query)
				ended <- err
			}()
			eventually(t, "the query to run", func() bool {
				return server.Running(query)
			})
			if err := conn.PgConn().CancelRequest(withTimeout(t)); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; dbtest.Code(err) != "57014" {
				t.Errorf("the query ended with %v", err)
			}
		})
	}
}

// TestTLSPreferredHandshake: a server that offers TLS, and then cannot, is spoken to in plain text.
func TestTLSPreferredHandshake(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	for name, answer := range map[string]string{"hangs up": "", "says something else": "\x15\x03\x01\x00\x02\x02\x28"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			f := preferring(t, true, dbtest.SCRAMUser, relay(t, func(down net.Conn) (net.Conn, net.Conn) {
				if asked.Add(1) == 1 {
					var request [8]byte
					_, _ = io.ReadFull(down, request[:])
					_, _ = down.Write([]byte("S"))
					_, _ = down.Read(make([]byte, 1<<10))
					_, _ = down.Write([]byte(answer))
					return nil, nil
				}
				up, err := net.Dial("tcp", server.Addr())
				if err != nil {
					return nil, nil
				}
				return down, up
			}))
			if got := f.must("select current_user"); got != dbtest.SCRAMUser || asked.Load() != 2 {
				t.Errorf("%q after %d connections", got, asked.Load())
			}
		})
	}
}

// TestTLSPreferredNegotiation: a client hears once which version the server speaks, however often the proxy has asked.
func TestTLSPreferredNegotiation(t *testing.T) {
	t.Parallel()
	f := preferring(t, true, dbtest.NoTLSUser, dbtest.StartPostgres(t, dbtest.PostgresTLS(redistest.NewPKI(t))).Addr())
	c := f.dial()
	if _, err := c.Write(startupPacket(t, pgproto.Startup{Kind: pgproto.StartupMessage, Version: pgproto.Version30, Params: []pgproto.Param{
		{Name: "user", Value: "app"}, {Name: "_pq_.unheard_of", Value: "1"},
	}})); err != nil {
		t.Fatal(err)
	}
	var types []byte
	for len(types) == 0 || types[len(types)-1] != pgproto.TypeReadyForQuery {
		var typ [1]byte
		if _, err := io.ReadFull(c, typ[:]); err != nil {
			t.Fatalf("after %q: %v", types, err)
		}
		if _, err := readPacket(c); err != nil {
			t.Fatal(err)
		}
		types = append(types, typ[0])
	}
	if got := strings.Count(string(types), string(rune(pgproto.TypeNegotiateProtocolVersion))); got != 1 || types[0] != pgproto.TypeNegotiateProtocolVersion {
		t.Errorf("the client gets %q", types)
	}
}
