package redis

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// TestScratchIsGivenBack: what the proxy needs for a large request that has to be
// split is not kept for the next one.
func TestScratchIsGivenBack(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	c := f.dial()
	value := strings.Repeat("x", 8<<10)
	mset, mget := []string{"MSET"}, []string{"MGET"}
	for i := range 2000 {
		key := strconv.Itoa(i*7919) + ":k"
		mset, mget = append(mset, key, value), append(mget, key)
	}
	for range 25 { // 50,000 keys
		mget = append(mget, mget[1:2001]...)
	}
	if got := c.Do(mset...); got != "+OK\r\n" {
		t.Fatalf("MSET: %.100q", got)
	}
	if got := c.Do(append([]string{"EXISTS"}, mget[1:]...)...); got != ":"+strconv.Itoa(len(mget)-1)+"\r\n" {
		t.Fatalf("EXISTS: %.100q", got)
	}
	redistest.Eventually(t, 30*time.Second, "the memory to be given back", func() error {
		var err error
		f.onLoop(func(w *worker) {
			size := cap(w.inline) + cap(w.out) + 8*cap(w.keys)
			for _, g := range w.groups[:cap(w.groups)] {
				size += 8 * cap(g.keys)
			}
			if size > 4*keepScratch {
				err = errors.New(strconv.Itoa(size) + " bytes")
			}
		})
		return err
	})
	check(t, c, "MGET nope", "*1 $-1")
}

// TestRewrittenAndSilenced: a reply that comes in pieces, has to be rewritten, and is
// not wanted.
func TestRewrittenAndSilenced(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	c := f.dial()
	for i := range 400 {
		check(t, c, "SET "+strconv.Itoa(i*7919)+strings.Repeat("k", 3000)+" x", "+OK")
	}
	for _, silence := range []string{"SKIP", "OFF"} {
		c.Send(redistest.Command("CLIENT", "REPLY", silence) + redistest.Command("SCAN", "0", "COUNT", "10000"))
		if silence == "OFF" {
			check(t, c, "CLIENT REPLY ON", "+OK")
		}
		check(t, c, "PING", "+PONG", "DBSIZE", ":400")
	}
}
