package redis

import (
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

const (
	denied  = " option of SORT denied: its pattern may form keys of other shards, unless the key's hash tag stands before the asterisk"
	errBy   = "-ERR dragoman: BY" + denied
	errGet  = "-ERR dragoman: GET" + denied
	crossed = "-" + errCrossSlot
)

// sortingCase is a request, and the reply to it over four shards. Where that is
// the answer of a single server it is empty.
type sortingCase struct{ request, refusal string }

// sortingData are values of which SORT {t}l sees all with the tag t.
func sortingData(c *redistest.Client) {
	for _, r := range []string{
		"RPUSH {t}l 3 1 2", "RPUSH plain 3 1 2", "MSET {t}w_1 30 {t}w_2 20 {t}w_3 10", "MSET {t}v_1 one {t}v_2 two {t}v_3 three",
		"HSET {t}h_1 f x1 w 9", "HSET {t}h_2 f x2 w 8", "HSET {t}h_3 f x3 w 7",
		"MSET w_1 30 w_2 20 w_3 10", "MSET v_1 one v_2 two v_3 three",
	} {
		c.Do(words(r)...)
	}
}

func sortingCases(elsewhere string) []sortingCase {
	return []sortingCase{
		{"SORT {t}l", ""},
		{"SORT {t}l BY {t}w_*", ""},
		{"SORT {t}l BY {t}w_* GET # GET {t}v_* DESC LIMIT 0 2", ""},
		{"SORT {t}l BY {t}h_*->w GET {t}h_*->f", ""},
		{"SORT {t}l by {t}w_* get {t}v_* STORE {t}d", ""},
		{"LRANGE {t}d 0 -1", ""},
		{"SORT_RO {t}l BY {t}w_* GET {t}v_*", ""},
		{"SORT plain BY nosort", ""},
		{"SORT plain BY nosort GET #", ""},
		{"SORT plain GET # GET nothing", ""},
		{"SORT plain BY {plain}w_* GET #", ""},
		{"SORT plain BY w_*", errBy},
		{"SORT plain GET v_*", errGet},
		{"SORT plain GET # get v_*", errGet},
		{"SORT_RO plain BY w_* GET v_*", errBy},
		{"SORT_RO plain GET v_* BY w_*", errGet},
		{"SORT {t}l BY {}w_*", errBy},
		{"SORT {t}l BY w_*{t}", errBy},   // the element may bring a tag of its own
		{"SORT {t}l BY {t*}", errBy},     // a part of the tag is the element
		{"SORT {t}l GET *->{t}", errGet}, // a field is no place
		{"SORT {t}l BY {" + elsewhere + "}w_*", errBy},
		{"SORT {t}l BY {t}w_* GET {" + elsewhere + "}v_*", errGet},
		{"SORT {t}l STORE " + elsewhere, crossed},
		{"SORT {t}l BY w_* STORE " + elsewhere, crossed},
		{"SORT plain FOO BY w_*", ""}, // what comes first is wrong first
		{"SORT plain BY w_* FOO", errBy},
		{"SORT plain BY", ""},
		{"SORT plain LIMIT 0 x BY w_*", ""},
		{"SORT plain LIMIT 0 2 BY w_*", errBy},
		{"SORT plain STORE {plain}x ALPHA BY w_*", errBy},
		{"SORT_RO plain STORE " + elsewhere, ""},
		{"SORT {t}w_1 BY {t}w_*", ""},
	}
}

// SORT over four shards answers as one server does, or not at all.
func TestShardedSort(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	direct := redistest.Dial(t, redistest.Server(t).Addr())
	c := f.dial()
	sortingData(c)
	sortingData(direct)
	elsewhere := f.keyOn((f.shardOf("{t}l")+1)%4, "k")
	for _, tt := range sortingCases(elsewhere) {
		want := tt.refusal + "\r\n"
		if tt.refusal == "" {
			want = direct.Do(words(tt.request)...)
		}
		if got := c.Do(words(tt.request)...); got != want {
			t.Errorf("%s: got %q, want %q", tt.request, got, want)
		}
	}
	check(t, c, "MULTI", "+OK", "SORT {t}l BY {t}w_*", "+QUEUED", "EXEC", "*1 *3 $1 3 $1 2 $1 1",
		"MULTI", "+OK", "SORT {t}l BY w_*", errBy, "EXEC", "-EXECABORT Transaction discarded because of previous errors.",
		"WATCH {t}l", "+OK", "SORT {t}l GET v_*", errGet, "UNWATCH", "+OK")
	f.quiet()
}

// What is refused over shards, a node of a Redis Cluster refuses, too.
func TestShardedSortRefusesAsACluster(t *testing.T) {
	t.Parallel()
	node := redistest.Dial(t, redistest.Cluster(t, 1, 0).Primaries()[0].Addr())
	for _, tt := range sortingCases("elsewhere") {
		if tt.refusal == "" || tt.refusal == crossed {
			continue
		}
		if got := node.Do(words(tt.request)...); !strings.Contains(got, " option of SORT denied in ") {
			t.Errorf("%s: a node says %q", tt.request, got)
		}
	}
}

// Without a hash tag no pattern is known to stay where it is.
func TestShardedSortWithoutTag(t *testing.T) {
	t.Parallel()
	f := fourShards(t, func(cfg *resource.RedisFilter) { cfg.HashTag = resource.HashTag{} })
	check(t, f.dial(), "RPUSH l 2 1", ":2", "SORT l BY {l}_*", errBy, "SORT l GET {l}*", errGet,
		"SORT l BY nosort", "*2 $1 2 $1 1", "SORT l GET #", "*2 $1 1 $1 2")
}

// A Redis Cluster judges patterns itself.
func TestClusterSort(t *testing.T) {
	t.Parallel()
	f := overCluster(t, nil)
	c := f.dial()
	key := f.keyIn(0, "k")
	direct := redistest.Dial(t, f.nodes[0].Addr())
	check(t, c, "RPUSH "+key+" 2 1", ":2")
	for _, request := range []string{
		"SORT " + key, "SORT " + key + " BY nosort", "SORT " + key + " BY w_*", "SORT " + key + " GET #",
		"SORT " + key + " GET v_*", "SORT " + key + " BY {" + key + "}*", "SORT " + key + " STORE " + f.keyIn(1, "k"),
	} {
		if got, want := c.Do(words(request)...), direct.Do(words(request)...); got != want {
			t.Errorf("%s: got %q, want %q", request, got, want)
		}
	}
}

// A prefix that is taken off keys is taken off patterns, too, and a pattern that
// may leave its route is refused.
func TestSortOverRoutes(t *testing.T) {
	t.Parallel()
	nodes := servers(t, 3)
	cfg := defaults()
	cfg.Routes = []resource.RedisRoute{
		{Prefix: "a:x:", Cluster: "ax"}, {Prefix: "a:", RemovePrefix: true, Cluster: "a"},
	}
	f := start(t, cfg, newCluster("main", nodes[0]), newCluster("a", nodes[1]), newCluster("ax", nodes[2]))
	c := f.dial()
	check(t, c,
		"RPUSH a:l 1 2", ":2", "MSET a:w_1 9 a:w_2 8", "+OK", "MSET a:v_1 one a:v_2 two", "+OK",
		"SORT a:l GET a:v_* BY a:w_* GET #", "*4 $3 two $1 2 $3 one $1 1",
		"SORT a:l BY a:w_* STORE a:d", ":2", "LRANGE a:d 0 -1", "*2 $1 2 $1 1",
		"SORT a:l BY w_*", errBy, "SORT a:l GET a:*", errGet, "SORT a:l GET a:x:*", errGet, "SORT a:l GET *", errGet,
		"RPUSH l 1 2", ":2", "MSET w_1 9 w_2 8", "+OK", "SORT l BY w_*", "*2 $1 2 $1 1", "SORT l BY a:w_*", errBy, "SORT l BY a*", errBy,
	)
	if got := nodes[1].Do("LRANGE", "d", "0", "-1"); got != "*2\r\n$1\r\n2\r\n$1\r\n1\r\n" {
		t.Errorf("the sorted list is %q", got)
	}
}
