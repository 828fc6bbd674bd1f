package postgres

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/filtertest"
	"github.com/dragoman-mesh/dragoman/internal/nettest"
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
			f.world.Set("user", tt.user)
			got, err := f.psql("select 1")
			switch {
			case tt.want == "" && (err != nil || got != "1"):
				t.Errorf("got %q, %v", got, err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %q, %v, want an error with %q", got, err, tt.want)
			case tt.want != "" && !strings.Contains(err.Error(), "HINT:  The password itself is shown over verified TLS only"):
				t.Errorf("the app does not hear what to do: %v", err)
			}
		})
	}
}

// TestPeer: over a unix socket the kernel tells who connects. The app's password and name are asked for besides, where the document says so, and
// what is required of the server is required whoever the app is.
func TestPeer(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	me, password := uint32(os.Getuid()), resource.SecretKey{Name: "app"}
	tests := []struct {
		name     string
		auth     resource.AppAuth
		required resource.LoginMethods
		user     string // of the server's
		options  string // of the app's
		want     string // of the error
	}{
		{"allowed", resource.AppAuth{PeerUIDs: []uint32{me + 1, me}}, 0, dbtest.SCRAMUser, "", ""},
		{"refused", resource.AppAuth{PeerUIDs: []uint32{me + 1}}, 0, dbtest.SCRAMUser, "", fmt.Sprintf("processes of the system's user %d may not", me)},
		{"with a password", resource.AppAuth{PeerUIDs: []uint32{me}, Password: password}, 0, dbtest.SCRAMUser, "password=sesame", ""},
		{"with a wrong one", resource.AppAuth{PeerUIDs: []uint32{me}, Password: password}, 0, dbtest.SCRAMUser, "password=x", "password authentication failed"},
		{"refused whatever the password", resource.AppAuth{PeerUIDs: []uint32{me + 1}, Password: password}, 0, dbtest.SCRAMUser, "password=sesame", "may not use"},
		{"with a name", resource.AppAuth{PeerUIDs: []uint32{me}, Username: "app"}, 0, dbtest.SCRAMUser, "user=app", ""},
		{"with another name", resource.AppAuth{PeerUIDs: []uint32{me}, Username: "app"}, 0, dbtest.SCRAMUser, "user=x", `user "x" may not use this listener (appAuth.username)`},
		{"requireAuth is kept", resource.AppAuth{PeerUIDs: []uint32{me}}, resource.LoginSCRAM, dbtest.SCRAMUser, "", ""},
		{"requireAuth is not kept", resource.AppAuth{PeerUIDs: []uint32{me}}, resource.LoginSCRAM, dbtest.TrustUser, "", "method refused"},
		{"requireAuth is not kept and a password is asked for", resource.AppAuth{PeerUIDs: []uint32{me}, Password: password}, resource.LoginSCRAM, dbtest.MD5User, "password=sesame", "method refused"},
		{"refused before requireAuth", resource.AppAuth{PeerUIDs: []uint32{me + 1}}, resource.LoginSCRAM, dbtest.TrustUser, "", "may not use"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := config()
			cfg.AppAuth, cfg.AppAuthMethod, cfg.RequireAuth = &tt.auth, resource.PostgresSCRAM, tt.required
			f := start(t, cfg, server.Addr())
			f.world.Set("app", "sesame")
			f.world.Set("user", tt.user)
			dir := t.TempDir()
			f.listen("unix", dir+"/.s.PGSQL.5432", nil)
			f.addr = dir
			got, err := f.psql("select current_user", tt.options)
			switch {
			case tt.want == "" && (err != nil || got != tt.user):
				t.Errorf("got %q, %v", got, err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %q, %v, want an error with %q", got, err, tt.want)
			}
		})
	}
}

// TestConnectStorm: of many clients that come at once only so many log in at the server at a time, and all get in.
func TestConnectStorm(t *testing.T) {
	t.Parallel()
	storm := filtertest.NewStorm(30, 3)
	addr := nettest.Serve(t, func(c net.Conn) {
		end := storm.Begin()
		if _, err := readPacket(c); err != nil {
			return
		}
		end()
		out := pgproto.AppendAuthentication(nil, pgproto.AuthOK, nil)
		out = pgproto.AppendReadyForQuery(out, pgproto.TxIdle)
		_, _ = c.Write(out)
		var rest [1]byte
		_, _ = c.Read(rest[:])
	})
	cfg := config()
	cfg.Limits.MaxConnecting = uint32(storm.Limit)
	f := start(t, cfg, addr)
	storm.Run(t, func(name string) float64 { return f.metric(name) }, func() (goOn func()) {
		c := f.dial()
		if _, err := c.Write(hello(t)); err != nil {
			t.Fatal(err)
		}
		return func() {
			var answer [9]byte
			if _, err := c.Read(answer[:]); err != nil || answer[0] != pgproto.TypeAuthentication {
				t.Errorf("a client gets %q, %v", answer, err)
			}
		}
	})
}
