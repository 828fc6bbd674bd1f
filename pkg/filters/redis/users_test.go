package redis

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func TestRules(t *testing.T) {
	t.Parallel()
	w := newWorker(NewBuilder(slog.New(slog.DiscardHandler)), nil)
	for _, tc := range []struct {
		name          string
		user          resource.User
		may, mayNever string // requests, separated by commas
	}{
		{
			"nothing said",
			resource.User{},
			"GET k, SET k v, FLUSHALL, CONFIG SET a b, DEBUG JMAP, NOSUCH", "",
		},
		{
			"read only",
			resource.User{ReadOnly: true},
			"GET k, MGET a b, HSCAN h 0, EVAL_RO x 0, FCALL_RO f 0, XINFO STREAM k, OBJECT ENCODING k, SORT_RO k, PING, INFO, MULTI, EXEC, " +
				"WATCH k, SUBSCRIBE c, PUBLISH c m, SELECT 1, CLIENT ID, SCRIPT EXISTS x, XREAD STREAMS k 0, AUTH x, HELLO 3, QUIT, RESET",
			"SET k v, GETEX k, EVAL x 0, EVALSHA x 0, FCALL f 0, XGROUP CREATE k g 0, XREADGROUP GROUP g c STREAMS k 0, SORT k, GEORADIUS k 1 1 1 m, " +
				"FLUSHALL, SWAPDB 0 1, MIGRATE h 1 k 0 1, FUNCTION LOAD x, FUNCTION FLUSH, CONFIG SET a b, DEBUG JMAP, SHUTDOWN, REPLICAOF NO ONE, " +
				"ACL SETUSER x, MODULE LOAD x, PFADD k a, BITFIELD k GET u8 0, COPY a b, RESTORE k 0 x, BLPOP k 0, CLIENT KILL x, NOSUCH x",
		},
		{
			"categories",
			resource.User{Allow: []string{"@read", "@connection", "set"}, Deny: []string{"keys", "@dangerous"}},
			"GET k, SET k v, PING, CLIENT ID, CLIENT SETNAME x, XINFO STREAM k, OBJECT ENCODING k, get k",
			"DEL k, KEYS *, CLIENT KILL x, CLIENT LIST, CONFIG GET x, SORT k, SORT_RO k, FLUSHALL, NOSUCH x",
		},
		{
			"subcommands",
			resource.User{Allow: []string{"config|get", "get", "object", "client|id"}, Deny: []string{"object|freq"}},
			"CONFIG GET x, config get x, GET k, OBJECT ENCODING k, CLIENT ID",
			"CONFIG SET a b, CONFIG RESETSTAT, OBJECT FREQ k, CLIENT KILL x, CLIENT LIST, SET k v",
		},
		{
			"denied container",
			resource.User{Deny: []string{"config", "acl|setuser", "@scripting"}},
			"GET k, ACL WHOAMI, NOSUCH x, SCRIPTX y",
			"CONFIG GET x, CONFIG SET a b, CONFIG, ACL SETUSER x, EVAL x 0, SCRIPT LOAD x, FUNCTION LIST",
		},
		{
			"all but",
			resource.User{Allow: []string{"@all"}, Deny: []string{"@write"}},
			"GET k, CONFIG SET a b, NOSUCH x", "SET k v, XGROUP CREATE k g 0",
		},
		{
			"unknown by name",
			resource.User{Allow: []string{"get", "my.command"}},
			"MY.COMMAND k, my.Command k", "MY.OTHER k",
		},
		{
			"unknown by name, denied",
			resource.User{Deny: []string{"my.command"}},
			"MY.OTHER k", "MY.COMMAND k",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u := newUser(w.b.commands, &tc.user)
			check := func(list string, want bool) {
				for line := range strings.SplitSeq(list, ", ") {
					if line == "" {
						continue
					}
					b := redisproto.AppendCommand(nil, strings.Fields(line)...)
					limits := redisproto.DefaultLimits()
					var cmd redisproto.Command
					if _, err := cmd.Parse(b, &limits); err != nil {
						t.Fatal(err)
					}
					var r request
					r.take(w, &cmd, b)
					if got := u.allows(&r); got != want {
						t.Errorf("%s: %t", line, got)
					}
				}
			}
			check(tc.may, true)
			check(tc.mayNever, false)
		})
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	cfg := defaults()
	cfg.Users = []resource.User{
		{Name: "admin", Passwords: []resource.SecretKey{{Name: "one"}, {Name: "two", Key: "x"}}},
		{Name: "default", Passwords: []resource.SecretKey{{Name: "main"}}, Deny: []string{"config|set", "flushall"}},
		{Name: "guest", ReadOnly: true},
	}
	node := redistest.Server(t, redistest.WithPassword("upstream"))
	main := newCluster("main", node)
	main.Table().Options.Redis.Credentials = credentials("", "upstream")
	f := start(t, cfg, main)
	c := f.dial()
	const noauth, wrong = "-NOAUTH Authentication required.", "-" + errWrongPass
	noperm := func(name string) string {
		return "-NOPERM this user has no permissions to run the '" + name + "' command"
	}
	check(t, c,
		"GET k", noauth, "PING", noauth, "MULTI", noauth, "SUBSCRIBE ch", noauth, "MONITOR", noauth,
		"HELLO", "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
		"GET", "-ERR wrong number of arguments for 'get' command",
		"AUTH wrong", wrong, "AUTH default wrong", wrong, "AUTH nobody x", wrong, "AUTH upstream", wrong, "AUTH a b c", "-ERR syntax error",
		"AUTH \"password of main\"", "+OK", "GET k", "$-1", "ACL WHOAMI", "$7 default",
		"CONFIG SET maxmemory 0", noperm("config|set"), "CONFIG GET maxmemory", "*2 $9 maxmemory $1 0", "FLUSHALL", noperm("flushall"),
		"MULTI", "+OK", "SET k 1", "+QUEUED", "FLUSHALL", noperm("flushall"), "EXEC", errAborted, "GET k", "$-1",
		"AUTH guest anything", "+OK", "SET k 1", noperm("set"), "GET k", "$-1", "ACL WHOAMI", "$5 guest", "EVAL x 0", noperm("eval"),
		"MULTI", "+OK", "AUTH admin \"password of one\"", "-ERR dragoman: 'auth' cannot be part of a transaction", "EXEC", errAborted, "SET k 1", noperm("set"),
		"AUTH admin \"password of two/x\"", "+OK", "SET k 1", "+OK", "AUTH admin wrong", wrong, "SET k 2", "+OK", "FLUSHALL", "+OK",
		"HELLO 2 AUTH admin wrong", wrong,
		"RESET", "+RESET", "GET k", noauth, "PING", noauth,
	)
	f.onLoop(func(w *worker) {
		if got := w.listeners["test/redis"].loginFailures; got != 6 {
			t.Errorf("%d failed logins are counted of 6, of which one with a name that nobody has", got)
		}
	})
	if got := c.Do("HELLO", "3", "AUTH", "admin", "password of one", "SETNAME", "me"); !strings.HasPrefix(got, "%7\r\n") {
		t.Errorf("HELLO: %q", got)
	}
	check(t, c, "CLIENT GETNAME", "$2 me", "GET k", "_", "ACL WHOAMI", "$5 admin")
	if got := c.Do("CLIENT", "LIST"); !strings.Contains(got, " user=admin ") || !strings.Contains(got, " name=me ") {
		t.Errorf("CLIENT LIST: %q", got)
	}
	// before the login nobody can make the proxy keep much
	for _, raw := range []string{"*11\r\n", "*1\r\n$20000\r\n"} {
		c := f.dial()
		c.Send(raw)
		if got := c.ReadFrame(); !strings.HasPrefix(got, "-ERR Protocol error: ") {
			t.Errorf("%q: %q", raw, got)
		}
		wantEnd(t, c)
	}
	check(t, f.dial(), "QUIT", "+OK")
}

func wantEnd(t *testing.T, c *redistest.Client) {
	t.Helper()
	if got, err := c.TryReadFrame(); err == nil {
		t.Errorf("got %q, want the end", got)
	}
}

func TestDefaultUserWithoutPassword(t *testing.T) {
	t.Parallel()
	cfg := defaults()
	cfg.Users = []resource.User{
		{Name: "admin", Passwords: []resource.SecretKey{{Name: "one"}}},
		{Name: "default", Allow: []string{"@read"}},
	}
	f := start(t, cfg, newCluster("main", servers(t, 4)...))
	c := f.dial()
	check(t, c, "GET k", "$-1", "SET k v", "-NOPERM this user has no permissions to run the 'set' command",
		"MSET a 1 b 2", "-NOPERM this user has no permissions to run the 'mset' command",
		"AUTH x", "-"+errAuthWithoutPassword, "AUTH admin \"password of one\"", "+OK", "SET k v", "+OK",
		"AUTH default anything", "+OK", "DEL k", "-NOPERM this user has no permissions to run the 'del' command",
		"NOSUCH", "-NOPERM this user has no permissions to run the 'NOSUCH' command")
}
