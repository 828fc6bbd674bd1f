package sqlprobe_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/sqlprobe"
)

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func login(user, password string) func() (string, string, error) {
	return func() (string, string, error) { return user, password, nil }
}

func postgresAt(addr, user string) sqlprobe.Target {
	return sqlprobe.Target{Network: "tcp", Address: addr, Login: login(user, dbtest.Password), Database: dbtest.Database}
}

func mysqlAt(addr, user string) sqlprobe.Target {
	return sqlprobe.Target{Protocol: sqlprobe.MySQL, Network: "tcp", Address: addr, Login: login(user, dbtest.Password)}
}

func ask(t *testing.T, target sqlprobe.Target) (sqlprobe.Answer, error) {
	t.Helper()
	a := sqlprobe.New(target)
	defer a.Close()
	return a.Ask(within(t, 30*time.Second))
}

func trusting(pki *redistest.PKI) *tls.Config {
	cfg := pki.ClientConfig()
	cfg.ServerName = "localhost"
	return cfg
}

// TestPostgresLogin: whatever the filter can log in with, the probe can, and
// what the filter refuses it refuses.
func TestPostgresLogin(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	server := dbtest.StartPostgres(t, dbtest.PostgresTLS(pki))
	plain := dbtest.StartPostgres(t)
	blind := &tls.Config{InsecureSkipVerify: true} // sslmode require
	tests := []struct {
		name, user string
		addr       string
		tls        *tls.Config
		optional   bool
		allow      pgproto.Methods
		want       error
	}{
		{name: "scram", user: dbtest.SCRAMUser},
		{name: "md5", user: dbtest.MD5User},
		{name: "trust", user: dbtest.TrustUser},
		{name: "scram plus", user: dbtest.TLSUser, tls: trusting(pki)},
		{name: "cleartext over verified TLS", user: dbtest.CleartextUser, tls: trusting(pki)},
		{name: "cleartext over TLS with anybody", user: dbtest.CleartextUser, tls: blind, want: sqlprobe.ErrUntrusted},
		{name: "cleartext", user: dbtest.CleartextUser, want: sqlprobe.ErrUntrusted},
		{name: "scram where scram is wanted", user: dbtest.SCRAMUser, allow: pgproto.MethodSCRAM},
		{name: "md5 where scram is wanted", user: dbtest.MD5User, allow: pgproto.MethodSCRAM, want: sqlprobe.ErrUntrusted},
		{name: "nothing where scram is wanted", user: dbtest.TrustUser, allow: pgproto.MethodSCRAM, want: sqlprobe.ErrUntrusted},
		{name: "cleartext, wanted, over TLS with anybody", user: dbtest.CleartextUser, tls: blind, allow: pgproto.MethodCleartext, want: sqlprobe.ErrUntrusted},
		{name: "no such user", user: "nobody", want: sqlprobe.ErrRefused},
		{name: "server without TLS", user: dbtest.SCRAMUser, addr: plain.Addr(), tls: blind, want: sqlprobe.ErrUntrusted},
		{name: "server without TLS, which is optional", user: dbtest.SCRAMUser, addr: plain.Addr(), tls: blind, optional: true},
		{name: "hostnossl, TLS is optional", user: dbtest.NoTLSUser, tls: blind, optional: true},
		{name: "hostnossl, TLS is demanded", user: dbtest.NoTLSUser, tls: blind, want: sqlprobe.ErrRefused},
		{name: "hostssl, TLS is optional", user: dbtest.TLSUser, tls: blind, optional: true},
		{name: "a certificate is demanded, TLS is optional", user: dbtest.CertUser, tls: blind, optional: true, want: sqlprobe.ErrRefused},
		{name: "read only by the user's settings", user: dbtest.ReadOnlyUser},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			target := postgresAt(server.Addr(), tc.user)
			if tc.addr != "" {
				target.Address = tc.addr
			}
			target.TLS, target.StartTLS, target.TLSOptional = tc.tls, tc.tls != nil, tc.optional
			target.Allow = tc.allow
			got, err := ask(t, target)
			if !errors.Is(err, tc.want) {
				t.Fatalf("Ask: %v, want %v", err, tc.want)
			}
			if err == nil && (!got.Primary || got.ReadOnly != (tc.user == dbtest.ReadOnlyUser) || got.Timeline != 1 || got.Position == 0) {
				t.Errorf("the server says %+v", got)
			}
		})
	}
}

func TestPostgresRoles(t *testing.T) {
	t.Parallel()
	primary := dbtest.StartPostgres(t)
	standby := primary.Standby()
	p, s := sqlprobe.New(postgresAt(primary.Addr(), dbtest.SCRAMUser)), sqlprobe.New(postgresAt(standby.Addr(), dbtest.SCRAMUser))
	defer p.Close()
	defer s.Close()
	ctx := within(t, 60*time.Second)
	if a, err := p.Ask(ctx); err != nil || !a.Primary || a.ReadOnly || a.Timeline != 1 {
		t.Errorf("primary: %+v, %v", a, err)
	}
	if a, err := s.Ask(ctx); err != nil || a.Primary || !a.ReadOnly || a.Position == 0 {
		t.Errorf("standby: %+v, %v", a, err)
	}
	standby.Promote()
	if a, err := s.Ask(ctx); err != nil || !a.Primary || a.ReadOnly || a.Timeline != 2 {
		t.Errorf("standby after its promotion, over the same connection: %+v, %v", a, err)
	}
	primary.SQL("alter system set default_transaction_read_only = on")
	primary.SQL("select pg_reload_conf()")
	redistest.Eventually(t, 30*time.Second, "the old primary to be read only", func() error {
		if a, err := p.Ask(ctx); err != nil || !a.Primary || !a.ReadOnly {
			return fmt.Errorf("it says %+v, %w", a, err)
		}
		return nil
	})
}

// sessions counts those of the probe.
func sessions(t *testing.T, p *dbtest.Postgres) string {
	t.Helper()
	return p.SQL("select count(*) || ' ' || coalesce(min(pid), 0) from pg_stat_activity where application_name = 'dragoman health check'")
}

func TestConnectionIsKept(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	a := sqlprobe.New(postgresAt(server.Addr(), dbtest.SCRAMUser))
	defer a.Close()
	ctx := within(t, 60*time.Second)
	before := ""
	for range 5 {
		if _, err := a.Ask(ctx); err != nil {
			t.Fatal(err)
		}
		now := sessions(t, server)
		if before != "" && now != before || !strings.HasPrefix(now, "1 ") {
			t.Fatalf("sessions at the server (number, pid): %s, before %s", now, before)
		}
		before = now
	}
	server.Restart()
	if _, err := a.Ask(ctx); err != nil {
		t.Errorf("after the server's restart: %v", err)
	}
	a.Close()
	redistest.Eventually(t, 30*time.Second, "the session to end", func() error {
		if got := sessions(t, server); got != "0 0" {
			return fmt.Errorf("there is %s", got)
		}
		return nil
	})
}

func TestFrozenServerIsNoticed(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	a := sqlprobe.New(postgresAt(server.Addr(), dbtest.SCRAMUser))
	defer a.Close()
	if _, err := a.Ask(within(t, 30*time.Second)); err != nil {
		t.Fatal(err)
	}
	server.Freeze()
	for _, connection := range []string{"kept", "new"} {
		if _, err := a.Ask(within(t, 200*time.Millisecond)); err == nil {
			t.Errorf("a frozen server answers over a %s connection", connection)
		}
	}
	server.Thaw()
	if _, err := a.Ask(within(t, 30*time.Second)); err != nil {
		t.Errorf("after it went on: %v", err)
	}
}

// TestRefusedLoginIsNotRepeated: a server's log is not to be filled by a
// password that is out of date.
func TestRefusedLoginIsNotRepeated(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	password := "out of date"
	target := postgresAt(server.Addr(), dbtest.SCRAMUser)
	target.Login = func() (string, string, error) { return dbtest.SCRAMUser, password, nil }
	a := sqlprobe.New(target)
	defer a.Close()
	ctx := within(t, 30*time.Second)
	for range 20 {
		if _, err := a.Ask(ctx); !errors.Is(err, sqlprobe.ErrRefused) {
			t.Fatalf("Ask: %v", err)
		}
	}
	if n := strings.Count(server.Output(), "password authentication failed"); n > 1 {
		t.Errorf("the server has logged %d refused logins", n)
	}
	password = dbtest.Password
	if _, err := a.Ask(ctx); err != nil {
		t.Errorf("with another password: %v", err)
	}
}

func TestMySQL(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	server := dbtest.StartMariaDB(t, dbtest.MariaDBTLS(pki))
	blind := &tls.Config{InsecureSkipVerify: true} // mode require
	tests := []struct {
		name, user string
		tls        *tls.Config
		want       error
	}{
		{name: "native", user: dbtest.NativeUser},
		{name: "ed25519", user: dbtest.Ed25519User},
		{name: "with TLS", user: dbtest.TLSUser, tls: trusting(pki)},
		{name: "with TLS to anybody", user: dbtest.TLSUser, tls: blind},
		{name: "no such user", user: "nobody", want: sqlprobe.ErrRefused},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			target := mysqlAt(server.Addr(), tc.user)
			target.TLS, target.StartTLS = tc.tls, tc.tls != nil
			got, err := ask(t, target)
			if !errors.Is(err, tc.want) || err == nil && (!got.Primary || got.ReadOnly) {
				t.Errorf("the server says %+v, %v, want %v", got, err, tc.want)
			}
		})
	}
	a := sqlprobe.New(mysqlAt(server.Addr(), dbtest.NativeUser))
	defer a.Close()
	ctx := within(t, 60*time.Second)
	for _, on := range []bool{true, false} {
		server.SQL(fmt.Sprintf("SET GLOBAL read_only = %v", on))
		if got, err := a.Ask(ctx); err != nil || got.Primary == on || got.ReadOnly != on {
			t.Errorf("with read_only = %v: %+v, %v", on, got, err)
		}
	}
	if n := server.SQL("SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'u_native'"); n != "1" {
		t.Errorf("%s sessions, want the one that is kept", n)
	}
}

// TestMySQLCachingSHA2: the password itself goes to a server that has shown who
// it is, and to no other.
func TestMySQLCachingSHA2(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	fake := dbtest.StartFakeMySQL(t, dbtest.CachingSHA2, pki)
	target := mysqlAt(fake.Addr(), "app")
	if _, err := ask(t, target); !errors.Is(err, sqlprobe.ErrUntrusted) {
		t.Errorf("in plain text: %v", err)
	}
	target.TLS, target.StartTLS = trusting(pki), true
	if _, err := ask(t, target); err != nil {
		t.Errorf("over verified TLS: %v", err)
	}
}

// scripted serves each connection with fixed bytes, and counts them.
func scripted(t *testing.T, reply []byte) (addr string, connections *atomic.Int32) {
	t.Helper()
	connections = &atomic.Int32{}
	return nettest.Serve(t, func(c net.Conn) {
		connections.Add(1)
		_, _ = c.Write(reply)
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, c)
	}), connections
}

// TestStrangeServers: what is not a database, or wants too much, is found out
// and not asked over and over.
func TestStrangeServers(t *testing.T) {
	t.Parallel()
	long := append(pgproto.AppendHead(nil, pgproto.TypeErrorResponse, 1<<20), make([]byte, 1<<20)...)
	wants := pgproto.AppendAuthentication(nil, pgproto.AuthCleartext, nil)
	row := append(pgproto.AppendAuthentication(nil, pgproto.AuthOK, nil), pgproto.AppendReadyForQuery(nil, pgproto.TxIdle)...)
	row = append(row, pgproto.AppendMessage(nil, pgproto.TypeDataRow, []byte{0, 9, 0, 0})...)
	tests := []struct {
		name     string
		protocol sqlprobe.Protocol
		reply    []byte
		want     error
		again    bool // it may be asked again
	}{
		{"not PostgreSQL", sqlprobe.Postgres, []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), sqlprobe.ErrProtocol, false},
		{"not MySQL", sqlprobe.MySQL, []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), sqlprobe.ErrProtocol, false},
		{"wants the password", sqlprobe.Postgres, wants, sqlprobe.ErrUntrusted, false},
		{"more than anybody needs", sqlprobe.Postgres, long, sqlprobe.ErrProtocol, false},
		{"half a row", sqlprobe.Postgres, row, sqlprobe.ErrProtocol, true},
		{"host is blocked", sqlprobe.MySQL, mysqlproto.AppendPacket(nil, 0, (&mysqlproto.ServerError{Errno: 1129, Message: "blocked"}).AppendTo(nil)), sqlprobe.ErrRefused, false},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			addr, connections := scripted(t, tc.reply)
			a := sqlprobe.New(sqlprobe.Target{Protocol: tc.protocol, Network: "tcp", Address: addr, Login: login("u", "p")})
			defer a.Close()
			for range 3 {
				if _, err := a.Ask(within(t, 10*time.Second)); !errors.Is(err, tc.want) {
					t.Errorf("Ask: %v, want %v", err, tc.want)
				}
			}
			if n := connections.Load(); n != 1 && !tc.again {
				t.Errorf("%d connections for three questions", n)
			}
		})
	}
}

func TestCredentialsThatAreNotThere(t *testing.T) {
	t.Parallel()
	gone := errors.New("secret is gone")
	target := sqlprobe.Target{Network: "tcp", Address: "127.0.0.1:1", Login: func() (string, string, error) { return "", "", gone }}
	if _, err := ask(t, target); !errors.Is(err, gone) {
		t.Errorf("Ask: %v, want %v", err, gone)
	}
}
