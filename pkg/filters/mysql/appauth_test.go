package mysql

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/filtertest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestAppAuth: the app has to show what the document demands, whatever method it
// begins with.
func TestAppAuth(t *testing.T) {
	t.Parallel()
	cfg := config()
	cfg.AppAuth = &resource.AppAuth{Username: "app", Password: resource.SecretKey{Name: "app", Key: "password"}}
	f := start(t, cfg, dbtest.StartMariaDB(t).Addr())
	f.world.Set("app/password", "open sesame")
	for _, plugin := range []string{mysqlproto.PluginNative, mysqlproto.PluginCachingSHA2, mysqlproto.PluginEd25519} {
		if got := f.must("select current_user()", "-popen sesame", "--default-auth="+plugin); got != dbtest.NativeUser+"@%" {
			t.Errorf("%s: got %q", plugin, got)
		}
	}
	for _, wrong := range [][]string{{"-pother"}, {"-popen sesame", "-uother"}, {"-p"}} {
		if _, err := f.client("select 1", wrong...); err == nil || !strings.Contains(err.Error(), "1045 (28000)") {
			t.Errorf("%s: %v", wrong, err)
		}
	}
	if got := f.metric("refused_total", "bad_password"); got != 3 {
		t.Errorf("%v apps refused", got)
	}
}

// TestChangeUserAppAuth: in COM_CHANGE_USER the app has to show its password too. Clients that show nothing before they are asked, as the libraries
// in C do, are asked.
func TestChangeUserAppAuth(t *testing.T) {
	t.Parallel()
	cfg := config()
	cfg.AppAuth = &resource.AppAuth{Password: resource.SecretKey{Name: "app"}}
	f := start(t, cfg, dbtest.StartMariaDB(t).Addr())
	f.world.Set("app", "open sesame")
	for _, password := range []string{"open sesame", "other", ""} {
		c := f.dial()
		c.greet()
		c.respond(mysqlproto.NativeResponse("open sesame", c.greeting.Scramble))
		if b := c.read(); b[0] != 0 {
			t.Fatalf("%q", b)
		}
		c.beginChange()
		wish, err := mysqlproto.ParseAuthSwitch(c.read())
		if err != nil || wish.Plugin != mysqlproto.PluginNative {
			t.Fatalf("the client is asked for %+v, %v", wish, err)
		}
		c.write(mysqlproto.NativeResponse(password, wish.Scramble()))
		if b := c.read(); (b[0] == 0) != (password == "open sesame") {
			t.Errorf("%q: %q", password, b)
		}
	}
}

// TestAnyAppPassword: where no password is asked for any will do, by any method.
func TestAnyAppPassword(t *testing.T) {
	t.Parallel()
	f := start(t, config(), dbtest.StartMariaDB(t).Addr())
	for _, plugin := range []string{mysqlproto.PluginNative, mysqlproto.PluginCachingSHA2, mysqlproto.PluginEd25519} {
		for _, password := range []string{"-panything", "--skip-password"} {
			if got := f.must("select 7", password, "--default-auth="+plugin); got != "7" {
				t.Errorf("%s %s: got %q", plugin, password, got)
			}
		}
	}
}

// TestGreetedMethod: the app is greeted with the server's method, and need not
// know another one.
func TestGreetedMethod(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	server := dbtest.StartFakeMySQL(t, dbtest.CachingSHA2, pki)
	for _, checked := range []bool{false, true} {
		cfg := config()
		if checked {
			cfg.AppAuth = &resource.AppAuth{Password: resource.SecretKey{Name: "app"}}
		}
		f := start(t, cfg, server.Addr())
		f.main().Lead(filtertest.Trusting(t, pki, "localhost"), server.Addr())
		f.world.Set("app", "open sesame")
		for _, password := range []string{"open sesame", "other", ""} {
			c := f.dial()
			c.plugin = mysqlproto.PluginCachingSHA2
			c.greet()
			if c.greeting.AuthPlugin != c.plugin {
				t.Fatalf("greeted with %q", c.greeting.AuthPlugin)
			}
			c.respond(mysqlproto.CachingSHA2Response(password, c.greeting.Scramble))
			b := c.read()
			if password != "" && string(b) == "\x01\x03" {
				b = c.read()
			}
			if welcome := !checked || password == "open sesame"; (b[0] == 0) != welcome {
				t.Errorf("%q, checked %v: %q", password, checked, b)
			}
		}
	}
}

// TestPeer: over a unix socket the kernel tells who connects. The app's password and name are asked for besides, where the document says so.
func TestPeer(t *testing.T) {
	t.Parallel()
	server := dbtest.StartMariaDB(t)
	me, password := uint32(os.Getuid()), resource.SecretKey{Name: "app"}
	tests := []struct {
		name   string
		auth   resource.AppAuth
		option string // of the app's
		want   string // of the error
	}{
		{"allowed", resource.AppAuth{PeerUIDs: []uint32{me + 1, me}}, "-panything", ""},
		{"refused", resource.AppAuth{PeerUIDs: []uint32{me + 1}}, "-panything", fmt.Sprintf("dragoman: processes of the system's user %d may not", me)},
		{"with a password", resource.AppAuth{PeerUIDs: []uint32{me}, Password: password}, "-psesame", ""},
		{"with a wrong one", resource.AppAuth{PeerUIDs: []uint32{me}, Password: password}, "-px", "1045 (28000): Access denied for user 'app' (dragoman"},
		{"refused, with a password", resource.AppAuth{PeerUIDs: []uint32{me + 1}, Password: password}, "-psesame", "may not use"},
		{"with a name", resource.AppAuth{PeerUIDs: []uint32{me}, Username: "app"}, "-uapp", ""},
		{"with another name", resource.AppAuth{PeerUIDs: []uint32{me}, Username: "app"}, "-ux", "1045 (28000): Access denied for user 'x' (dragoman"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := config()
			cfg.AppAuth = &tt.auth
			f := start(t, cfg, server.Addr())
			f.world.Set("app", "sesame")
			f.main().Lead(nil, server.SocketPath()) // the server too
			f.listen("unix", filepath.Join(t.TempDir(), "s"), nil)
			got, err := f.client("select current_user()", tt.option)
			switch {
			case tt.want == "" && (err != nil || got != dbtest.NativeUser+"@%"):
				t.Errorf("got %q, %v", got, err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %q, %v, want an error with %q", got, err, tt.want)
			}
		})
	}
}

// TestMethodsBehindOneThatIsRefused: of a user's several methods, one that would show the password is answered with nothing, at the login and in
// COM_CHANGE_USER, and the next is used.
func TestMethodsBehindOneThatIsRefused(t *testing.T) {
	t.Parallel()
	server := dbtest.StartMariaDB(t, dbtest.MariaDBSetting("plugin-load-add", "auth_pam"), dbtest.MariaDBSetting("pam-use-cleartext-plugin", "1"))
	server.SQL("create user u_several identified via pam using 'nothing' or ed25519 using password('" + dbtest.Password + "'); grant select on *.* to u_several")
	f := start(t, config(), server.Addr())
	f.world.Set("user", "u_several")
	c := f.dial()
	c.greet()
	c.respond(nil)
	if b := c.read(); b[0] != 0 {
		t.Fatalf("at the login: %q", b)
	}
	c.beginChange()
	if b := c.read(); b[0] != 0 {
		t.Errorf("in COM_CHANGE_USER: %q", b)
	}
}
