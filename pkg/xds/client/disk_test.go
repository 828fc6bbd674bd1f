package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/dragoman-mesh/dragoman/pkg/xds/client"
	"github.com/dragoman-mesh/dragoman/pkg/xds/client/diskset"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// filled runs a client against a control plane once, so that there is a file with
// these listeners.
func filled(t *testing.T, f *foreign, listeners ...string) (path string) {
	t.Helper()
	path = cachePath(t)
	address, stopServer := serve(t, f.register)
	proxy := newConsumer()
	o := options(t, proxy, address)
	o.CachePath = path
	_, stop := start(t, o)
	file := diskset.File{Path: path, Max: 1 << 20}
	var got []string
	eventually(t, func() bool {
		set, err := file.Read()
		if err != nil {
			return false
		}
		got = got[:0]
		for _, r := range set.Resources {
			if r.Body.GetTypeUrl() == resource.ListenerType {
				got = append(got, r.Name)
			}
		}
		slices.Sort(got)
		return slices.Equal(got, listeners)
	}, func() string { return fmt.Sprintf("the file has listeners %q, want %q", got, listeners) })
	stop()
	stopServer()
	return path
}

func withoutServer(t *testing.T, path string, servers ...string) (*consumer, client.Options) {
	t.Helper()
	proxy := newConsumer()
	o := options(t, proxy, append([]string{nobody(t)}, servers...)...)
	o.CachePath, o.CacheWait = path, 50*time.Millisecond
	return proxy, o
}

// TestStartFromDisk starts while no control plane is there, and catches up when
// one comes.
func TestStartFromDisk(t *testing.T) {
	t.Parallel()
	for _, mode := range []client.Mode{client.Delta, client.SotW} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			f := newForeign(false)
			f.set(t, listener("l1", 1001, "c1"), edsCluster("c1"), assignment("c1", "10.0.0.1"),
				listener("l3", 1003, "c1"), tlsListener("l2", 1002, "c1", "s1"), certificate("s1"))
			path := filled(t, f, "l1", "l2", "l3")

			later := nobody(t)
			proxy, o := withoutServer(t, path, later)
			o.Mode = mode
			c, _ := start(t, o)
			u := proxy.runs(t, "l1:c1:10.0.0.1", "l3:c1:10.0.0.1") // l2 needs a secret, and these are not kept
			if !u.Origin.Disk || len(u.Missing) != 1 || u.Missing[0].Name != "s1" {
				t.Errorf("origin %v, missing %+v", u.Origin, u.Missing)
			}
			eventually(t, func() bool {
				s := c.Status()
				return s.Origin.Disk && !s.Connected && s.LastError != ""
			}, func() string { return fmt.Sprintf("status: %+v", c.Status()) })
			// The control plane is back; l3 has gone meanwhile, c1 has moved.
			f.set(t, listener("l1", 1001, "c1"), edsCluster("c1"), assignment("c1", "10.0.0.2"),
				tlsListener("l2", 1002, "c1", "s1"), certificate("s1"))
			serveAt(t, later, f.register)
			proxy.runs(t, "l1:c1:10.0.0.2", "l2:c1:10.0.0.2")
			eventually(t, func() bool { return !c.Status().Origin.Disk }, func() string { return "it still says that it is from disk" })
		})
	}
}

// TestDiskIsForNeed does not use the file when a control plane answers soon.
func TestDiskIsForNeed(t *testing.T) {
	t.Parallel()
	f := newForeign(false)
	f.set(t, listener("l1", 1001, "c1"), staticCluster("c1", "10.0.0.1"))
	path := filled(t, f, "l1")
	f.set(t, listener("l1", 1001, "c1"), staticCluster("c1", "10.0.0.2"))
	address, _ := serve(t, f.register)
	proxy, o := withoutServer(t, path, address)
	o.CacheWait = patience
	start(t, o)
	proxy.runs(t, "l1:c1:10.0.0.2")
	if n := proxy.count(); n != 1 {
		t.Errorf("%d sets were applied, want 1", n)
	}
}

// TestNoSecretOnDisk looks for secrets in the file, in every way in which one
// may come.
func TestNoSecretOnDisk(t *testing.T) {
	t.Parallel()
	inline := staticCluster("c2", "10.0.0.1")
	inline.TypedExtensionProtocolOptions = redisPassword(secretValue)
	f := newForeign(false)
	f.set(t, tlsListener("l1", 1001, "c1", "s1"), certificate("s1"), listener("l2", 1002, "c2"), listener("l3", 1003, "c1"),
		inline, edsCluster("c1"), assignment("c1", "10.0.0.1"))
	path := filled(t, f, "l1", "l2", "l3")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if containsSecret(data) || bytes.Contains(data, []byte(resource.SecretType)) {
		t.Error("a secret is on disk")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
	// What needs no secret runs.
	proxy, o := withoutServer(t, path)
	start(t, o)
	proxy.runs(t, "l3:c1:10.0.0.1")
}

// TestDamagedFile is reported and ignored.
func TestDamagedFile(t *testing.T) {
	t.Parallel()
	f := newForeign(false)
	f.set(t, listener("l1", 1001, "c1"), staticCluster("c1", "10.0.0.1"))
	good, err := os.ReadFile(filled(t, f, "l1"))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		data []byte
		max  int64
		want string
	}{
		"empty":        {nil, 0, "does not begin with"},
		"truncated":    {good[:len(good)-1], 0, "bytes follow the header"},
		"flipped":      {append(bytes.Clone(good[:len(good)-1]), good[len(good)-1]^1), 0, "checksum"},
		"other format": {bytes.Replace(good, []byte(`"format":1`), []byte(`"format":9`), 1), 0, "format 9"},
		"too large":    {good, 10, "larger than 10 bytes"},
		"other node":   {bytes.Replace(good, []byte(`"node":"web-0.shop"`), []byte(`"node":"db-0.shop"`), 1), 0, "written for node db-0.shop"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := cachePath(t)
			if err := os.WriteFile(path, tt.data, 0o600); err != nil {
				t.Fatal(err)
			}
			address := nobody(t)
			proxy, o := withoutServer(t, path, address)
			o.MaxCacheBytes = tt.max
			c, _ := start(t, o)
			eventually(t, func() bool { return strings.Contains(c.Status().CacheErr, tt.want) },
				func() string { return fmt.Sprintf("the status says %q, want %q", c.Status().CacheErr, tt.want) })
			if proxy.count() > 0 {
				t.Error("the file was used")
			}
			serveAt(t, address, f.register)
			proxy.runs(t, "l1:c1:10.0.0.1")
		})
	}
}

// TestDiskRefused has a consumer that cannot make everything of the file run.
func TestDiskRefused(t *testing.T) {
	t.Parallel()
	f := newForeign(false)
	f.set(t, listener("l1", 1001, "c1"), listener("l2", 1002, "c1"), staticCluster("c1", "10.0.0.1"))
	path := filled(t, f, "l1", "l2")
	proxy, o := withoutServer(t, path)
	proxy.refuse = func(u client.Update) error {
		for _, l := range u.Set.Listeners {
			if l.GetName() == "l2" {
				return &resource.Error{TypeURL: resource.ListenerType, Name: "l2", Path: "address", Reason: "is in use"}
			}
		}
		return nil
	}
	start(t, o)
	proxy.runs(t, "l1:c1:10.0.0.1")
}

// TestUnwritable cannot write its file: it is said, and nothing else happens.
func TestUnwritable(t *testing.T) {
	t.Parallel()
	f := newForeign(false)
	f.set(t, listener("l1", 1001, "c1"), staticCluster("c1", "10.0.0.1"))
	address, _ := serve(t, f.register)
	proxy := newConsumer()
	o := options(t, proxy, address)
	o.CachePath = cachePath(t) + "/no/such/folder"
	c, _ := start(t, o)
	proxy.runs(t, "l1:c1:10.0.0.1")
	eventually(t, func() bool { return c.Status().CacheErr != "" }, func() string { return "the status does not say so" })
}

// TestConsumerHangs ends while the consumer is at work.
func TestConsumerHangs(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{})
	proxy := consumerFunc(func(ctx context.Context, _ client.Update) error {
		close(begun)
		<-ctx.Done()
		return errors.Join(errors.New("interrupted"), ctx.Err())
	})
	address, _ := serve(t, (&ads{delta: simple}).register, grpc.MaxRecvMsgSize(1<<20))
	_, stop := start(t, options(t, proxy, address))
	<-begun
	stop()
}
