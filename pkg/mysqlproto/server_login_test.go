package mysqlproto_test

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

func TestLoginAtAServer(t *testing.T) {
	t.Parallel()
	server, pki := startServer(t)
	server.SQL("install soname 'auth_pam'")
	for user, methods := range map[string]string{ // the server tries one after the other, and switches to each
		"u_second":  "ed25519 using password('another') or mysql_native_password using password('" + dbtest.Password + "')",
		"u_behind":  "pam using 'nothing' or ed25519 using password('" + dbtest.Password + "')", // pam asks by the method dialog
		"u_between": "ed25519 using password('another') or pam using 'nothing' or mysql_native_password using password('" + dbtest.Password + "')",
		"u_pam":     "pam using 'nothing'",
		"u_third":   "unix_socket or mysql_native_password using password('another') or ed25519 using password('" + dbtest.Password + "')",
	} {
		server.SQL("create user " + user + " identified via " + methods + "; grant select on *.* to " + user)
	}
	tests := []struct {
		name     string
		user     string
		password string
		tls      *tls.Config
		allow    mysqlproto.Methods
		want     string // the method; empty for a refusal
		refusal  string
	}{
		{"native", dbtest.NativeUser, dbtest.Password, nil, everyMethod, mysqlproto.PluginNative, ""},
		{"native over TLS", dbtest.TLSUser, dbtest.Password, pki.ClientConfig(), everyMethod, mysqlproto.PluginNative, ""},
		{"native and a certificate", dbtest.CertUser, dbtest.Password, pki.ClientConfig(), everyMethod, mysqlproto.PluginNative, ""},
		{"no password", dbtest.EmptyUser, "", nil, everyMethod, mysqlproto.PluginNative, ""},
		{"ed25519, switched to", dbtest.Ed25519User, dbtest.Password, nil, everyMethod, mysqlproto.PluginEd25519, ""},
		{"ed25519 alone", dbtest.Ed25519User, dbtest.Password, nil, mysqlproto.MethodEd25519, mysqlproto.PluginEd25519, ""},
		{"native, switched to from caching_sha2_password", dbtest.NativeUser, dbtest.Password, nil, everyMethod, mysqlproto.PluginNative, ""},
		{"the second of two methods", "u_second", dbtest.Password, nil, everyMethod, mysqlproto.PluginNative, ""},
		{"the third of three methods", "u_third", dbtest.Password, nil, everyMethod, mysqlproto.PluginEd25519, ""},
		{"behind one that is refused", "u_behind", dbtest.Password, nil, everyMethod, mysqlproto.PluginEd25519, ""},
		{"behind one that is refused, a wrong password", "u_behind", "wrong", nil, everyMethod, "", "ERROR 1045 (28000)"},
		{"before and behind one that is refused", "u_between", dbtest.Password, nil, everyMethod, mysqlproto.PluginNative, ""},
		{"none but one that is refused", "u_pam", dbtest.Password, nil, everyMethod, "", "refused"},
		{"none of three methods", "u_third", "wrong", nil, everyMethod, "", "ERROR 1045 (28000)"},

		{"wrong password", dbtest.NativeUser, "wrong", nil, everyMethod, "", "ERROR 1045 (28000)"},
		{"wrong password by ed25519", dbtest.Ed25519User, "wrong", nil, everyMethod, "", "ERROR 1045 (28000)"},
		{"ed25519 is not allowed", dbtest.Ed25519User, dbtest.Password, nil, mysqlproto.MethodNative, "", "refused"},
		{"native is not allowed", dbtest.NativeUser, dbtest.Password, nil, mysqlproto.MethodEd25519, "", "refused"},
		{"TLS user without TLS", dbtest.TLSUser, dbtest.Password, nil, everyMethod, "", "ERROR 1045 (28000)"},
		{"unknown user", "nobody", "x", nil, everyMethod, "", "ERROR 1045 (28000)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := connect(t, server.Addr(), login{
				user: tt.user, password: tt.password, database: dbtest.Database, allow: tt.allow, tls: tt.tls,
				attrs: []mysqlproto.Attr{{Name: "program_name", Value: "test"}},
			})
			if tt.want == "" {
				if err == nil || !strings.Contains(err.Error(), tt.refusal) {
					t.Fatalf("error %v, want one with %q", err, tt.refusal)
				}
				if tt.refusal == "refused" && !errors.Is(err, mysqlproto.ErrMethodRefused) {
					t.Errorf("error %v is not ErrMethodRefused", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if c.plugin != tt.want {
				t.Errorf("logged in by %q, want %q", c.plugin, tt.want)
			}
			if got := c.value("SELECT CONCAT(USER(), ' ', DATABASE())"); !strings.HasPrefix(got, tt.user+"@") || !strings.HasSuffix(got, " "+dbtest.Database) {
				t.Errorf("logged in as %q", got)
			}
			if !c.tracker.Idle() {
				t.Error("not idle after a query")
			}
		})
	}
}

func TestGreetingOfAServer(t *testing.T) {
	t.Parallel()
	server := dbtest.StartMariaDB(t, dbtest.MariaDBSetting("max-connections", "10"), dbtest.MariaDBSetting("extra-max-connections", "1"))
	var clients []*client
	for {
		c, err := connect(t, server.Addr(), login{user: dbtest.ReadOnlyUser, password: dbtest.Password, database: dbtest.Database, allow: everyMethod})
		if err != nil {
			var full *mysqlproto.ServerError
			if !errors.As(err, &full) || full.Errno != mysqlproto.ErrnoTooManyConnections {
				t.Fatal(err)
			}
			break
		}
		if clients = append(clients, c); len(clients) > 20 {
			t.Fatal("the server takes more clients than it may")
		}
	}
	g := clients[0].greet
	if !g.MariaDB() || !strings.Contains(g.Version(), "MariaDB") || len(g.Scramble) != 20 || g.AuthPlugin != mysqlproto.PluginNative {
		t.Errorf("greeting %+v", g)
	}
	if !g.Capabilities.Has(mysqlproto.Compress|mysqlproto.MariaDBStmtBulk) || g.Capabilities.Relayable().Has(mysqlproto.Compress) {
		t.Errorf("capabilities %x", g.Capabilities)
	}
}

func TestChangeUserAtAServer(t *testing.T) {
	t.Parallel()
	server := dbtest.StartMariaDB(t)
	c := variants[0].connect(t, server)
	c.ask(query("BEGIN"))
	for _, tt := range []struct{ user, password, want string }{
		{dbtest.ReadOnlyUser, dbtest.Password, dbtest.ReadOnlyUser},
		{dbtest.Ed25519User, dbtest.Password, dbtest.Ed25519User},
		{dbtest.EmptyUser, "", dbtest.EmptyUser},
	} {
		auth := mysqlproto.NewAuth(mysqlproto.AuthConfig{User: tt.user, Password: tt.password, Allow: everyMethod, Random: rand.Reader})
		plugin, response, err := auth.Begin(mysqlproto.PluginNative, c.scram)
		if err != nil {
			t.Fatal(err)
		}
		u := mysqlproto.ChangeUser{User: tt.user, Auth: response, Database: dbtest.DatabaseDev, Charset: 45, AuthPlugin: plugin}
		payload, err := u.AppendTo(nil, c.caps)
		if err != nil {
			t.Fatal(err)
		}
		c.send(mysqlproto.AppendPacket(nil, 0, payload))
		if c.tracker.AtCommand() {
			t.Error("at a command during authentication")
		}
		for done := false; !done; {
			_, message := c.authMessage()
			if message[0] == 0xfe {
				s, err := mysqlproto.ParseAuthSwitch(message)
				if err != nil {
					t.Fatal(err)
				}
				c.keep(s)
			}
			out, answer, finished, err := auth.Step(nil, message)
			if err != nil {
				t.Fatalf("%s: %v", tt.user, err)
			}
			if answer {
				c.send(mysqlproto.AppendPacket(nil, c.in.LastSeq()+1, out))
			}
			done = finished
		}
		if !c.tracker.Idle() {
			t.Errorf("Tracker says %q after a change of user", state(c.tracker))
		}
		if got := c.value("SELECT CONCAT(USER(), ' ', DATABASE())"); !strings.HasPrefix(got, tt.want+"@") || !strings.HasSuffix(got, dbtest.DatabaseDev) {
			t.Errorf("changed to %q, want %q", got, tt.want)
		}
	}
}

// authMessage receives one message during COM_CHANGE_USER.
func (c *client) authMessage() (mysqlproto.Head, []byte) {
	c.t.Helper()
	for {
		n, step := c.in.Next(c.unread, false)
		c.unread = c.unread[n:]
		switch step {
		case mysqlproto.StepHead:
			c.in.Gather(1 << 10)
		case mysqlproto.StepPayload:
			h, payload := c.in.Head(), append([]byte(nil), c.in.Payload()...)
			if _, err := c.tracker.Server(h, payload[:c.tracker.Want(h)]); err != nil {
				c.t.Fatal(err)
			}
			return h, payload
		default:
			c.unread = c.read()
		}
	}
}
