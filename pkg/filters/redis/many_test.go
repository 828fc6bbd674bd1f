package redis

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestManyKeysAgainAndAgain: requests of some MB in small arguments and their
// replies, one after the other on one connection. Nothing may get mixed up.
func TestManyKeysAgainAndAgain(t *testing.T) {
	t.Parallel()
	const keys = 200_000
	var list strings.Builder
	for i := range keys {
		key := fmt.Sprint("kk", i)
		fmt.Fprintf(&list, "$%d\r\n%s\r\n", len(key), key)
	}
	for _, shards := range []int{1, 4} {
		t.Run(fmt.Sprint(shards, " shards"), func(t *testing.T) {
			t.Parallel()
			cfg := defaults()
			patient(cfg)
			cl := newCluster("main", servers(t, shards)...)
			cl.Table().Options.ConnectTimeout = time.Minute // it includes the login, and a turn of a slow loop
			f := start(t, cfg, cl)
			c := f.dial()
			c.Timeout = time.Minute
			none := fmt.Sprintf("*%d\r\n%s", keys, strings.Repeat("$-1\r\n", keys))
			for _, name := range []string{"DEL", "MGET", "EXISTS", "TOUCH", "UNLINK", "MGET", "DEL", "EXISTS", "MGET", "TOUCH"} {
				want := ":0\r\n"
				if name == "MGET" {
					want = none
				}
				c.Send(fmt.Sprintf("*%d\r\n$%d\r\n%s\r\n%s", keys+1, len(name), name, list.String()))
				if got := c.ReadFrame(); got != want {
					t.Fatalf("%s: %.200q", name, got)
				}
			}
			check(t, c, "PING", "+PONG")
		})
	}
}
