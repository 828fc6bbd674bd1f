package twemproxy_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/goldentest"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/twemproxy"
)

// TestDocuments has the objects of valid configurations validated, and keeps
// them as golden files.
func TestDocuments(t *testing.T) {
	t.Parallel()
	goldentest.Run(t, "testdata/documents/*.txtar", func(t *testing.T, c *goldentest.Case) {
		cfg, errs := twemproxy.Parse("in.yml", c.Files[0].Data)
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		objs, errs := twemproxy.Documents("in.yml", cfg)
		var got strings.Builder
		if len(errs) > 0 {
			got.WriteString(errs.Error() + "\n")
		}
		for _, o := range objs {
			b, err := json.MarshalIndent(o, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got.Write(append(b, '\n'))
		}
		if errs := mesh.Validate(objs); len(errs) > 0 {
			t.Errorf("the objects are not valid:\n%v", errs)
		}
		c.Compare(t, map[string]string{c.Files[1].Name: got.String()})
	})
}

func TestNames(t *testing.T) {
	t.Parallel()
	var cfg twemproxy.Config
	for _, name := range []string{"alpha", "Alpha", "a_b", "a b", "___", strings.Repeat("x", 100)} {
		cfg.Pools = append(cfg.Pools, twemproxy.Pool{Name: name})
	}
	want := []string{"alpha", "alpha-2", "a-b", "a-b-2", "pool", strings.Repeat("x", 50)}
	if diff := cmp.Diff(want, twemproxy.Names(&cfg)); diff != "" {
		t.Error(diff)
	}
}

func TestResolveListen(t *testing.T) {
	t.Parallel()
	cfg, errs := twemproxy.Parse("in.yml", []byte(`a:
  listen: localhost:1
  servers:
  - h:1:1
b:
  listen: nowhere:2
  servers:
  - h:1:1
c:
  listen: /tmp/s
  servers:
  - h:1:1
`))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	errs = cfg.ResolveListen("in.yml", func(host string) (string, error) {
		if host == "localhost" {
			return "127.0.0.1", nil
		}
		return "", errors.New("no such host " + host)
	})
	if len(errs) != 1 || errs[0].Error() != "in.yml:5: b.listen: no such host nowhere" {
		t.Errorf("got %v", errs)
	}
	if got := cfg.Pools[0].Listen.Host; got != "127.0.0.1" {
		t.Errorf("got %q", got)
	}
}

func TestParseServers(t *testing.T) {
	t.Parallel()
	cfg, errs := twemproxy.ParseServers("REDIS_SERVERS", "redis-st-0.redis-svc:6379:1, redis-st-1.redis-svc:6379:2,")
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	want := []twemproxy.Server{
		{Host: "redis-st-0.redis-svc", Port: 6379, Weight: 1},
		{Host: "redis-st-1.redis-svc", Port: 6379, Weight: 2},
	}
	if diff := cmp.Diff(want, cfg.Pools[0].Servers); diff != "" {
		t.Error(diff)
	}
	if got := cfg.Pools[0].Listen.String(); got != "0.0.0.0:6380" {
		t.Errorf("listens on %s", got)
	}
	objs, errs := twemproxy.Documents("REDIS_SERVERS", cfg)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if errs := mesh.Validate(objs); len(errs) > 0 {
		t.Error(errs)
	}
	for _, bad := range []string{"", ",", "a", "a:1", "a:1:0", "a:1:1,a:1:2", "a:1:1,b"} {
		if cfg, errs := twemproxy.ParseServers("REDIS_SERVERS", bad); len(errs) == 0 {
			t.Errorf("%q is taken for %+v", bad, cfg)
		}
	}
}
