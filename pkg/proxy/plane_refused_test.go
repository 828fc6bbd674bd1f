package proxy_test

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// TestPortTakenByAnother: the control plane is told which listener cannot run
// and why; the others do, and once the port is free, that one does, too.
func TestPortTakenByAnother(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port, bad, later := redistest.Port(t), taken.Addr().(*net.TCPAddr).Port, redistest.Port(t)
	f := startForeign(t)
	two := ambassador("good", port, one(node.Addr())) + ambassador("bad", bad, one(node.Addr()))
	f.publish(&translated(t, two, "test").Set)
	r := start(t, "", f.options())
	if got := redistest.Dial(t, local(port)).Do("PING"); got != "+PONG\r\n" {
		t.Errorf("the listener whose port is free: %q", got)
	}
	r.shows("/config_dump", `"state": "refused"`)
	r.shows("/config_dump", "address already in use")
	client := redistest.Dial(t, local(port))
	client.Do("PING")

	f.publish(&translated(t, two+ambassador("more", later, one(node.Addr())), "test").Set)
	r.shows("/listeners", "default/more::"+local(later))
	if got := client.Do("PING"); got != "+PONG\r\n" {
		t.Errorf("a client of before: %q", got)
	}
	_ = taken.Close()
	r.shows("/listeners", "default/bad::"+local(bad))
}

// TestRefusedChange: of what is refused, the old version runs on.
func TestRefusedChange(t *testing.T) {
	t.Parallel()
	a, b := redistest.Server(t), redistest.Server(t)
	b.Do("SET", "where", "b")
	port, other := redistest.Port(t), redistest.Port(t)
	f := startForeign(t)
	set := translated(t, ambassador("cache", port, one(a.Addr())), "test")
	f.publish(&set.Set)
	r := start(t, "", f.options())
	client := redistest.Dial(t, local(port))
	client.Do("SET", "where", "a")

	next := translated(t, ambassador("cache", port, one(a.Addr()))+ambassador("more", other, one(b.Addr())), "test")
	for _, c := range next.Clusters {
		if c.GetName() == "default/cache/test" {
			c.ConnectTimeout = durationpb.New(-1)
		}
	}
	f.publish(&next.Set)
	r.shows("/config_dump", "connect_timeout")
	r.shows("/listeners", "default/more::"+local(other))
	if got := redistest.Dial(t, local(other)).Do("GET", "where"); got != bulk("b") {
		t.Errorf("what came with the bad resource: %q", got)
	}
	if got := client.Do("GET", "where"); got != bulk("a") {
		t.Errorf("what was refused: %q", got)
	}
	f.publish(&set.Set)
	r.eventually("the refusal to be forgotten", func() error {
		if page := r.get("/config_dump"); strings.Contains(page, "connect_timeout") && strings.Contains(page, `"state": "refused"`) {
			return errors.New(page)
		}
		return nil
	})
}

// TestPasswordFileIsLate: what names a file that is not there yet is refused, and taken
// when the file comes.
func TestPasswordFileIsLate(t *testing.T) {
	t.Parallel()
	a, b := redistest.Server(t), redistest.Server(t, redistest.WithPassword("s3cret"))
	port, other, password := redistest.Port(t), redistest.Port(t), filepath.Join(t.TempDir(), "password")
	f := startForeign(t)
	first := ambassador("cache", port, one(a.Addr()))
	f.publish(&translated(t, first, "test").Set)
	r := start(t, "", f.options())
	f.publish(&translated(t, first+ambassador("more", other, fmt.Sprintf("test: {address: %q, credentials: {passwordFile: %s}}", b.Addr(), password)), "test").Set)
	r.shows("/config_dump", password+": no such file or directory")
	put(t, password, "s3cret\n")
	r.shows("/listeners", "default/more::"+local(other))
	if got := redistest.Dial(t, local(other)).Do("PING"); got != "+PONG\r\n" {
		t.Errorf("once the file is there: %q", got)
	}
}
