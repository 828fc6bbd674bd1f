package upstream

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
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
