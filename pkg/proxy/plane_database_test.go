package proxy_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	_ "github.com/go-sql-driver/mysql" // the driver of package sql
	"github.com/jackc/pgx/v5"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/xds/client"
)

// databaseKind is a real server, and an app's driver for it.
type databaseKind struct {
	protocol string
	user     string
	port     int
	// password gives the user another one at the server.
	password func(string)
	// refused counts the logins that the server has refused.
	refused func() int
	denial  string // that an app sees of the server's own error
	notYet  string // the same of the proxy's, where something is not there yet
	// session begins one and asks something; ping asks once more.
	session func(ctx context.Context, port int) (ping func(context.Context) error, err error)
}

func postgresKind(t *testing.T) databaseKind {
	server := dbtest.StartPostgres(t)
	return databaseKind{
		protocol: "postgres", user: dbtest.SCRAMUser, port: server.Port(), denial: "28P01", notYet: "57P03",
		password: func(to string) { server.SQL("alter role " + dbtest.SCRAMUser + " password '" + to + "'") },
		refused:  func() int { return strings.Count(server.Output(), "FATAL:  password authentication failed for user") },
		session: func(ctx context.Context, port int) (func(context.Context) error, error) {
			conn, err := pgx.Connect(ctx, fmt.Sprintf("host=127.0.0.1 port=%d user=app dbname=placeholder sslmode=disable", port))
			if err != nil {
				return nil, err
			}
			t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(ctx)) })
			return conn.Ping, conn.Ping(ctx)
		},
	}
}

func mariadbKind(t *testing.T) databaseKind {
	server := dbtest.StartMariaDB(t)
	return databaseKind{
		protocol: "mysql", user: dbtest.NativeUser, port: server.Port(), denial: "Error 1045", notYet: "Error 1429",
		password: func(to string) { server.SQL("alter user " + dbtest.NativeUser + " identified by '" + to + "'") },
		refused: func() int {
			_, value, _ := strings.Cut(server.SQL("show global status like 'Access_denied_errors'"), "\t")
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Errorf("Access_denied_errors is %q", value)
			}
			return n
		},
		session: func(ctx context.Context, port int) (func(context.Context) error, error) {
			db, err := sql.Open("mysql", "app@tcp("+local(port)+")/")
			if err != nil {
				return nil, err
			}
			t.Cleanup(func() { _ = db.Close() })
			conn, err := db.Conn(ctx)
			if err != nil {
				return nil, err
			}
			return conn.PingContext, conn.PingContext(ctx)
		},
	}
}

// document is an ambassador whose credentials come by SDS.
func (k *databaseKind) document(port int, spec ...string) string {
	environments := fmt.Sprintf("test: {address: %q, database: %s, credentials: {secret: {name: orders}}}", local(k.port), dbtest.Database)
	return strings.Replace(ambassador("orders", port, environments, spec...), "protocol: redis", "protocol: "+k.protocol, 1)
}

// TestDatabasePasswordRotates: somebody changes the password at the database
// first, and the secret later. Who connects in between is refused by the server,
// waits, and is let in when SDS has brought the new one, without knowing. If none
// comes, the app gets the database's own error.
func TestDatabasePasswordRotates(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T) databaseKind{"PostgreSQL": postgresKind, "MariaDB": mariadbKind} {
		for _, mode := range []client.Mode{client.Delta, client.SotW} {
			t.Run(name+"/"+mode.String(), func(t *testing.T) {
				t.Parallel()
				passwordRotates(t, start(t), mode)
			})
		}
	}
}

func passwordRotates(t *testing.T, k databaseKind, mode client.Mode) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*limit)
	defer cancel()
	port := redistest.Port(t)
	f := startForeign(t)
	publish := func(password string) {
		f.publish(&translated(t, k.document(port), "test", secret("orders", "username", k.user, "password", password)).Set)
	}
	publish(dbtest.Password)
	r := start(t, "", f.options(func(o *client.Options) { o.Mode = mode }))
	ping, err := k.session(ctx, port)
	if err != nil {
		t.Fatal(err)
	}
	before := k.refused()
	k.password("second")
	begun := make(chan error, 1)
	go func() {
		_, err := k.session(ctx, port)
		begun <- err
	}()
	r.eventually("the server to refuse the old password", func() error {
		if n := k.refused() - before; n != 1 {
			return fmt.Errorf("%d logins are refused\n%s", n, r.log)
		}
		return nil
	})
	publish("second")
	if err := <-begun; err != nil {
		t.Errorf("a session that began with the old password: %v\n%s", err, r.log)
	}
	if n := k.refused() - before; n != 1 {
		t.Errorf("%d logins were refused, want 1", n)
	}
	if _, err := k.session(ctx, port); err != nil {
		t.Errorf("a session after that: %v", err)
	}

	k.password("third")
	if _, err := k.session(ctx, port); err == nil || !strings.Contains(err.Error(), k.denial) {
		t.Errorf("no new secret came: %v, want the server's own error", err)
	}
	if !strings.Contains(r.log.String(), "these are the environment's credentials") {
		t.Errorf("the log does not say whose password it is:\n%s", r.log)
	}
	if err := ping(ctx); err != nil {
		t.Errorf("the session that was open all the time: %v", err)
	}
	for _, password := range []string{dbtest.Password, "second"} {
		if strings.Contains(r.log.String(), strconv.Quote(password)) {
			t.Error("the log shows a password")
		}
	}
}

// TestDatabaseSecretIsLate: the listener is there though its Secret is not. Apps
// that connect are held, and let in when the Secret comes; who has waited for
// limits.maxWait gets an error that says what is missing. It is the same where the
// listener comes from the set on disk, which has no secrets, and nobody answers.
func TestDatabaseSecretIsLate(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T) databaseKind{"PostgreSQL": postgresKind, "MariaDB": mariadbKind} {
		for _, mode := range []client.Mode{client.Delta, client.SotW} {
			for _, from := range []string{"control plane", "disk"} {
				t.Run(name+"/"+mode.String()+"/from "+from, func(t *testing.T) {
					t.Parallel()
					secretIsLate(t, start(t), mode, from == "disk")
				})
			}
		}
	}
}

func secretIsLate(t *testing.T, k databaseKind, mode client.Mode, fromDisk bool) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*limit)
	defer cancel()
	port, hasty := redistest.Port(t), redistest.Port(t)
	f := startForeign(t)
	documents := k.document(port, "limits: {maxWait: 120s}") +
		strings.Replace(k.document(hasty, "limits: {maxWait: 1s}"), "metadata: {name: orders}", "metadata: {name: hasty}", 1)
	set := translated(t, documents, "test", secret("orders", "username", k.user, "password", dbtest.Password))
	disk := filepath.Join(t.TempDir(), "set")
	options := f.options(func(o *client.Options) { o.Mode, o.ResourceTimeout, o.CachePath = mode, 2*limit, disk })
	if fromDisk {
		f.publish(&set.Set)
		earlier := start(t, "", options)
		if _, err := k.session(ctx, port); err != nil {
			t.Fatal(err)
		}
		if err := earlier.stop(); err != nil {
			t.Error(err)
		}
		f.stop()
	}
	secrets := set.Secrets
	set.Secrets = nil
	if !fromDisk {
		f.publish(&set.Set)
	}
	r := launch(t, "", options)
	r.eventually("the ports to be open", func() error {
		if n := len(r.Listeners()); n != 2 {
			return fmt.Errorf("%d listeners\n%s", n, r.log)
		}
		return nil
	})
	if _, err := k.session(ctx, hasty); err == nil || !strings.Contains(err.Error(), k.notYet) ||
		!strings.Contains(err.Error(), "the credentials for the database are not there") {
		t.Errorf("at the end of limits.maxWait: %v", err)
	}
	begun := make(chan error, 1)
	go func() {
		_, err := k.session(ctx, port)
		begun <- err
	}()
	r.eventually("the app to be connected", func() error {
		for _, l := range r.Listeners() {
			if l.Connections > 0 {
				return nil
			}
		}
		return fmt.Errorf("no connection at %+v", r.Listeners())
	})
	// What comes from disk is all that there is: nobody waits for a control plane that may be away for long.
	if ok, text := r.Ready(); ok != fromDisk || !strings.Contains(text, "default/orders") {
		t.Errorf("ready: %t, %q, want it to say what is missing", ok, text)
	}
	set.Secrets = secrets
	f.publish(&set.Set)
	if fromDisk {
		f.start()
	}
	if err := <-begun; err != nil {
		t.Errorf("the session that was held: %v\n%s", err, r.log)
	}
	r.eventually("the proxy to be ready", func() error {
		if ok, text := r.Ready(); !ok {
			return fmt.Errorf("%s", text)
		}
		return nil
	})
}
