package upstream

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/secrets"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/topology"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Sentinels of two deployments that call different servers by one name, neither
// later than the other, do not have the primary change all the time.
func TestSentinelsThatDisagree(t *testing.T) {
	t.Parallel()
	one, other := redistest.Sentinel(t, []string{"m"}, 1), redistest.Sentinel(t, []string{"m"}, 1)
	s := testSet(t, nil)
	apply(t, s, sentinelSpec(append(one.Nodes(), other.Nodes()...), "m"))
	c := running(t, s, "sentinel")
	first := c.Table().Shards[0].Primary.Address
	for range 20 {
		before := c.stats.refreshes.Load()
		c.Refresh("test")
		eventually(t, "a refresh", func() error {
			if c.stats.refreshes.Load() == before {
				return errors.New("not yet")
			}
			return nil
		})
		if now := c.Table().Shards[0].Primary.Address; now != first {
			t.Fatalf("the primary was %s and is %s", first, now)
		}
	}
}

// A Sentinel that has missed a failover, with a server that takes itself for the primary
// still, is not believed when the others are late to answer, or their names are gone.
func TestSentinelThatMissedAFailover(t *testing.T) {
	t.Parallel()
	others, apart := redistest.Sentinel(t, []string{"m"}, 2), redistest.Sentinel(t, []string{"m"}, 1)
	others.Failover("m")
	var z zone
	s := testSet(t, z.resolve)
	sentinels := sentinelSpec(append(others.Nodes(), apart.Nodes()...), "m")
	for i := range others.Nodes() {
		sentinels.Endpoints[i].Host = fmt.Sprint("sentinel", i)
		z.set(sentinels.Endpoints[i].Host, "127.0.0.1")
	}
	apply(t, s, sentinels)
	c := running(t, s, "sentinel")
	m, old := others.Servers("m"), apart.Servers("m")
	primary := func(want *redistest.Node) func() error {
		return func() error {
			if p := c.Table().Shards[0].Primary; p == nil || p.Address != want.Addr() {
				return fmt.Errorf("primary %+v", p)
			}
			return nil
		}
	}
	eventually(t, "the promoted server", primary(m[1]))
	for _, n := range others.Nodes() {
		n.Freeze()
	}
	for _, then := range []func(){
		m[1].Kill,
		func() {
			for i := range others.Nodes() {
				z.set(fmt.Sprint("sentinel", i))
			}
		},
		func() {},
	} {
		before := c.stats.refreshFailures.Load()
		c.Refresh("test")
		eventually(t, "an answer that is not believed", func() error {
			if got := c.stats.refreshFailures.Load(); got < before+2 {
				return errCount(got - before)
			}
			return nil
		})
		if got, want := c.view().LastError, ErrOutdated.Error()+": "+old[0].Addr(); !strings.Contains(got, want) {
			t.Errorf("the view has %q, want %q", got, want)
		}
		if err := primary(m[1])(); err != nil {
			t.Error(err)
		}
		then()
	}
}

// Sentinels have a password of their own, which may change while they run.
func TestSentinelsWithAPassword(t *testing.T) {
	t.Parallel()
	sentinels := redistest.Sentinel(t, []string{"m"}, 1)
	if got := sentinels.Nodes()[0].Do("ACL", "SETUSER", "default", "resetpass", ">right"); got != "+OK\r\n" {
		t.Fatal(got)
	}
	source := &passwords{}
	source.text.Store("wrong")
	s := testSet(t, nil)
	watched := sentinelSpec(sentinels.Nodes(), "m")
	watched.Discovery.Sentinel.PasswordSecret = resource.SecretKey{Name: "redis", Key: "password"}
	if err := s.Apply([]*resource.Cluster{watched}, source); err != nil {
		t.Fatal(err)
	}
	c := running(t, s, "sentinel")
	eventually(t, "the wrong password to be refused", func() error {
		if got := c.view().LastError; !strings.Contains(got, "WRONGPASS") {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
	source.text.Store("right")
	m := sentinels.Servers("m")
	eventually(t, "the right one to be read", shaped(c, fmt.Sprintf("m=%s+%s", m[0].Addr(), m[1].Addr())))
	if got := c.view().LastError; strings.Contains(got, "right") || strings.Contains(got, "wrong") {
		t.Errorf("the error shows the password: %q", got)
	}
}

// texts is a source of secrets.
type texts map[string]string

func (t texts) Secret(name string) (string, error) {
	if text, ok := t[name]; ok {
		return text, nil
	}
	return "", fmt.Errorf("%q: %w", name, secrets.ErrUnknown)
}

// A user that may do no more than ask for the primary is enough, without replicas. One
// that may not do that is told what is missing.
func TestSentinelsWithFewRights(t *testing.T) {
	t.Parallel()
	sentinels := redistest.Sentinel(t, []string{"m"}, 3)
	allow := func(rules ...string) {
		for _, n := range sentinels.Nodes() {
			if got := n.Do(append([]string{"ACL", "SETUSER", "app", "on", ">pw"}, rules...)...); got != "+OK\r\n" {
				t.Fatal(got)
			}
		}
	}
	allow("+ping")
	s := testSet(t, nil)
	watched := sentinelSpec(sentinels.Nodes(), "m")
	watched.Discovery.Sentinel.UsernameSecret = resource.SecretKey{Name: "redis", Key: "username"}
	watched.Discovery.Sentinel.PasswordSecret = resource.SecretKey{Name: "redis", Key: "password"}
	if err := s.Apply([]*resource.Cluster{watched}, texts{"redis/username": "app", "redis/password": "pw"}); err != nil {
		t.Fatal(err)
	}
	c := running(t, s, "sentinel")
	eventually(t, "the refusal to be told", func() error {
		if got := c.view().LastError; !strings.Contains(got, "sentinel|get-master-addr-by-name") {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
	allow("+sentinel|get-master-addr-by-name")
	m := sentinels.Servers("m")
	eventually(t, "the primary alone", shaped(c, "m="+m[0].Addr()))
	eventually(t, "nothing to complain of", func() error {
		if got := c.view().LastError; got != "" {
			return errors.New(got)
		}
		return nil
	})
	sentinels.Failover("m")
	c.Refresh("test")
	eventually(t, "the next primary", shaped(c, "m="+m[1].Addr()))
}

func TestLatestOf(t *testing.T) {
	t.Parallel()
	a, b := topology.Node{Host: "a", Port: 1}, topology.Node{Host: "b", Port: 1}
	dated := func(n topology.Node, epoch int64) watched { return watched{primary: n, epoch: epoch} }
	undated := func(n topology.Node) watched { return watched{primary: n, undated: true} }
	for name, tc := range map[string]struct {
		answers []watched
		want    topology.Node // a is known
	}{
		"the later epoch":        {[]watched{dated(a, 1), dated(b, 2), dated(a, 1)}, b},
		"the known of one epoch": {[]watched{dated(b, 1), dated(a, 1), dated(b, 1)}, a},
		"what most say":          {[]watched{undated(a), undated(b), undated(b)}, b},
		"the known of as many":   {[]watched{undated(b), undated(a)}, a},
		"the epoch before none":  {[]watched{undated(a), undated(a), dated(b, 1)}, b},
	} {
		if got := latestOf(tc.answers, a).primary; got != tc.want {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}
