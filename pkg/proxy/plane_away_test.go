package proxy_test

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/xds/client"
)

// TestControlPlaneAway kills the control plane, and starts again without it.
func TestControlPlaneAway(t *testing.T) {
	t.Parallel()
	a, b := redistest.Server(t), redistest.Server(t)
	a.Do("SET", "where", "a")
	b.Do("SET", "where", "b")
	port, locked := redistest.Port(t), redistest.Port(t)
	f := startForeign(t)
	set := translated(t, ambassador("cache", port, one(a.Addr()), "drainDeadline: 100ms")+ambassador("locked", locked,
		fmt.Sprintf("test: {address: %q, credentials: {secret: {name: redis}}}", a.Addr())), "test",
		secret("redis", "password", "hunter2-and-more"))
	f.publish(&set.Set)
	disk := filepath.Join(t.TempDir(), "set")
	options := f.options(func(o *client.Options) { o.CachePath = disk })
	r := start(t, "", options)
	c := redistest.Dial(t, local(port))
	c.Do("PING")
	f.stop()
	r.shows("/ready", "LIVE\nconfiguration as it was received last, control plane unreachable since ")
	r.shows("/config_dump", `"connected": false`)
	if got := c.Do("GET", "where"); got != bulk("a") {
		t.Errorf("without the control plane: %q", got)
	}
	if err := r.stop(); err != nil { // after which the set is on disk
		t.Error(err)
	}
	if got := readFile(t, disk); strings.Contains(got, "hunter2") {
		t.Error("the password is on disk")
	}

	r = start(t, "", options)
	r.shows("/ready", "LIVE\nconfiguration from disk, control plane unreachable since ")
	r.shows("/ready", `Secret "default/redis" is missing for Cluster "default/locked/test"`)
	r.shows("/metrics", "dragoman_xds_from_disk 1")
	c = redistest.Dial(t, local(port))
	if got := c.Do("GET", "where"); got != bulk("a") {
		t.Errorf("from disk: %q", got)
	}
	r.shows("/listeners", "default/locked::"+local(locked))
	if got := redistest.Dial(t, local(locked)).Do("GET", "where"); !strings.Contains(got, `no credentials: secret "default/redis`) {
		t.Errorf("the listener whose secret is not there: %q", got)
	}

	set.move("default/cache/test", 0, b.Port())
	f.publish(&set.Set)
	f.start()
	r.eventually("the change that was missed", func() error {
		got, err := c.TryDo("GET", "where")
		if err != nil {
			t.Fatal(err)
		}
		if got != bulk("b") {
			return errors.New(got)
		}
		return nil
	})
	r.eventually("/ready to have nothing to say", func() error {
		if got := r.get("/ready"); got != "LIVE\n" {
			return errors.New(got)
		}
		return nil
	})
	r.shows("/metrics", "dragoman_xds_from_disk 0")
	if got := redistest.Dial(t, local(locked)).Do("PING"); strings.HasPrefix(got, "-ERR dragoman") {
		t.Errorf("the listener whose secret has come: %q", got)
	}
}

// TestSecretNeverComes: at first the process is not ready for lack of a certificate;
// when it has waited long enough, everything else is, and the listener that needs
// the secret follows when it comes.
func TestSecretNeverComes(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	port, locked := redistest.Port(t), redistest.Port(t)
	f := startForeign(t)
	chain, key := redistest.NewPKI(t).Issue("localhost", "localhost", "127.0.0.1")
	set := translated(t, ambassador("cache", port, one(node.Addr()))+strings.Replace(ambassador("locked", locked, one(node.Addr())),
		fmt.Sprintf("{port: %d}", locked), fmt.Sprintf("{port: %d, tls: {cert: {secret: {name: web}}}}", locked), 1),
		"test", secret("web", "tls.crt", readFile(t, chain), "tls.key", readFile(t, key)))
	late := set.Secrets
	set.Secrets = nil
	f.publish(&set.Set)
	r := launch(t, "", f.options(func(o *client.Options) { o.ResourceTimeout = 15 * time.Second }))
	r.shows("/ready", `WARMING: Secret "default/web:tls" is missing for Listener "default/locked"`)
	if ok, _ := r.Ready(); ok {
		t.Error("ready while a secret is awaited")
	}
	r.shows("/ready", "LIVE\nSecret \"default/web:tls\" is missing for Listener \"default/locked\" (did not come within 15s)")
	if got := redistest.Dial(t, local(port)).Do("PING"); got != "+PONG\r\n" {
		t.Errorf("the listener that needs no secret: %q", got)
	}
	if c, err := net.Dial("tcp", local(locked)); err == nil {
		_ = c.Close()
		t.Error("a listener whose secret is missing is open")
	}
	set.Secrets = late
	f.publish(&set.Set)
	r.shows("/listeners", "default/locked::"+local(locked))
	r.eventually("/ready to have nothing to say", func() error {
		if got := r.get("/ready"); got != "LIVE\n" {
			return errors.New(got)
		}
		return nil
	})
}

// TestRedisSecretIsLate: the listener is there though its Secret is not. Apps get an
// error that says what is missing, and the proxy is not ready, until it comes.
func TestRedisSecretIsLate(t *testing.T) {
	t.Parallel()
	for _, mode := range []client.Mode{client.Delta, client.SotW} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			node := redistest.Server(t, redistest.WithPassword("s3cret"))
			port := redistest.Port(t)
			f := startForeign(t)
			set := translated(t, ambassador("cache", port, fmt.Sprintf("test: {address: %q, credentials: {secret: {name: redis}}}", node.Addr())),
				"test", secret("redis", "password", "s3cret"))
			late := set.Secrets
			set.Secrets = nil
			f.publish(&set.Set)
			r := launch(t, "", f.options(func(o *client.Options) { o.Mode, o.ResourceTimeout = mode, 2*limit }))
			r.shows("/listeners", "default/cache::"+local(port))
			app := redistest.Dial(t, local(port))
			if got := app.Do("GET", "k"); !strings.Contains(got, `no credentials: secret "default/redis`) {
				t.Errorf("the app gets %q", got)
			}
			r.shows("/ready", `WARMING: Secret "default/redis" is missing for Cluster "default/cache/test"`)
			if ok, _ := r.Ready(); ok {
				t.Error("ready while a secret is awaited")
			}
			set.Secrets = late
			f.publish(&set.Set)
			r.eventually("an answer", func() error {
				if got := app.Do("SET", "k", "v"); got != "+OK\r\n" {
					return errors.New(got)
				}
				return nil
			})
			r.shows("/ready", "LIVE")
		})
	}
}

// TestNothingToRunOn: without control plane and disk the process waits, says so,
// and ends when it is told to.
func TestNothingToRunOn(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	port := redistest.Port(t)
	f := startForeign(t)
	f.stop()
	r := launch(t, "", f.options())
	r.shows("/ready", "INITIALIZING: no control plane has answered: ")
	if ok, _ := r.Ready(); ok {
		t.Error("ready without a configuration")
	}
	r.shows("/config_dump", `"connected": false`)
	f.publish(&translated(t, ambassador("cache", port, one(node.Addr())), "test").Set)
	f.start()
	r.shows("/ready", "LIVE")
	if got := redistest.Dial(t, local(port)).Do("PING"); got != "+PONG\r\n" {
		t.Errorf("got %q", got)
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	f.stop()
	r = launch(t, "", f.options())
	r.shows("/ready", "INITIALIZING")
	if err := r.stop(); err != nil {
		t.Errorf("ending before anything has come: %v", err)
	}
}
