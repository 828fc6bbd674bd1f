package upstream

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/secrets"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// edsSpec is spec with endpoints that come from EDS.
func edsSpec(name string, endpoints ...resource.Endpoint) *resource.Cluster {
	c := spec(name, endpoints...)
	c.Discovery = resource.Discovery{Type: resource.DiscoverEDS, EDSServiceName: name}
	return c
}

func prepare(t *testing.T, s *Set, specs ...*resource.Cluster) *Change {
	t.Helper()
	c, err := s.Prepare(specs, secrets.NewStore(nil))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestEndpointsMoveUnderACluster: a change of EDS alone is a new table of the
// same cluster, in which what stays is the same as before.
func TestEndpointsMoveUnderACluster(t *testing.T) {
	t.Parallel()
	s := testSet(t, nil)
	one, two, three := host("127.0.0.1", 1), host("127.0.0.1", 2), host("127.0.0.1", 3)
	apply(t, s, edsSpec("eds", one, two), edsSpec("other", one))
	c, other := running(t, s, "eds"), running(t, s, "other")
	before, untouched := c.Table(), other.Table()
	c.Report(before.Shards[1].Primary, filters.ConnectFailure)

	change := prepare(t, s, edsSpec("eds", two, three), edsSpec("other", one))
	if c.Table().Shards[0].Primary != before.Shards[0].Primary {
		t.Error("endpoints have moved before the commit")
	}
	change.Commit()
	if running(t, s, "eds") != c {
		t.Fatal("the cluster was replaced")
	}
	now := c.Table()
	if len(now.Shards) != 2 || now.Shards[0].Primary != before.Shards[1].Primary {
		t.Errorf("the endpoint that stays is another: %+v", now.Shards)
	}
	if now.Shards[0].Primary.Healthy() {
		t.Error("its ejection was forgotten")
	}
	if now.Version <= before.Version {
		t.Errorf("version %d after %d", now.Version, before.Version)
	}
	if other.Table() != untouched {
		t.Error("a cluster whose endpoints did not change has a new table")
	}
	if got := len(prepare(t, s, edsSpec("eds", two, three), edsSpec("other", one)).moves); got != 0 {
		t.Errorf("the same again moves %d clusters", got)
	}
	// A change of the cluster itself starts from the endpoints of now.
	slower := edsSpec("eds", two, three)
	slower.ConnectTimeout = 3 * time.Second
	apply(t, s, slower, edsSpec("other", one))
	if got := running(t, s, "eds").Table(); got.Shards[0].Primary != now.Shards[0].Primary || got.Shards[1].Primary != now.Shards[1].Primary {
		t.Error("endpoints are others after a change of the cluster")
	}
}

// TestAbort: what was prepared and given up has never been.
func TestAbort(t *testing.T) {
	t.Parallel()
	s := testSet(t, nil)
	node := redistest.Server(t)
	checked := func(seconds int) *resource.Cluster {
		c := spec("c", at(node), host("127.0.0.1", 1))
		c.ConnectTimeout = time.Duration(seconds) * time.Second
		return c
	}
	apply(t, s, checked(1))
	c := running(t, s, "c")
	table := c.Table()

	next := checked(2)
	next.Endpoints = []resource.Endpoint{host("127.0.0.1", 1), host("127.0.0.1", 9)}
	next.Endpoints[0].Health = resource.HealthUnhealthy
	change := prepare(t, s, next, spec("new", host("127.0.0.1", 1)))
	if _, ok := change.Cluster("new"); !ok {
		t.Error("the change does not know its own cluster")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := change.Warm(ctx); err != nil {
		t.Error(err)
	}
	change.Abort()
	if running(t, s, "c") != c || c.Table() != table {
		t.Error("the running cluster has changed")
	}
	if _, ok := s.Cluster("new"); ok {
		t.Error("a cluster of the aborted change runs")
	}
	dead := table.Shards[1].Primary
	if !dead.Healthy() {
		t.Error("the aborted change's word on health is believed")
	}
	// Members are still looked after, as the running cluster says.
	c.Report(dead, filters.ConnectFailure)
	checks := c.stats.checks.Load()
	eventually(t, "probes of an ejected endpoint", func() error {
		if got := c.stats.checks.Load(); got < checks+2 {
			return errCount(got)
		}
		return nil
	})
	if got := (*c.index.Load())[dead].settings.Load().limit; got != time.Second {
		t.Errorf("probes have the aborted change's limit %v", got)
	}
}

// TestPreparedSecrets: until the commit, the running cluster's secrets are those
// it came with; the next one may use its own.
func TestPreparedSecrets(t *testing.T) {
	t.Parallel()
	s := testSet(t, nil)
	with := func(name, value string) *resource.Cluster {
		c := spec("c", host("127.0.0.1", 1))
		c.Redis.PasswordSecret = resource.SecretKey{Name: name}
		c.Secrets = []*resource.Secret{{
			Name: name, Generic: map[string]resource.DataSource{"": {Inline: []byte(value)}},
		}}
		return c
	}
	password := func(c filters.Cluster) string {
		_, p, err := c.Table().Options.Redis.Credentials()
		if err != nil {
			return err.Error()
		}
		return p
	}
	apply(t, s, with("c#a", "first"))
	old := running(t, s, "c")
	rotated := prepare(t, s, with("c#a", "second"))
	if got := password(old); got != "first" {
		t.Errorf("before the commit: %q", got)
	}
	rotated.Abort()
	if got := password(old); got != "first" {
		t.Errorf("after the abort: %q", got)
	}
	renamed := prepare(t, s, with("c#b", "third"))
	next, _ := renamed.Cluster("c")
	if got := password(next); got != "third" {
		t.Errorf("a secret that is only known to the prepared cluster: %q", got)
	}
	renamed.Abort()
	if got := password(next); !strings.Contains(got, secrets.ErrUnknown.Error()) {
		t.Errorf("after the abort it is still known: %q", got)
	}
	prepare(t, s, with("c#a", "second")).Commit()
	if got := password(running(t, s, "c")); got != "second" {
		t.Errorf("after the commit: %q", got)
	}
}

func TestErrorsNameTheirCluster(t *testing.T) {
	t.Parallel()
	s := testSet(t, nil)
	bad := spec("bad")
	bad.LB.Hash = "sha999"
	_, err := s.Prepare([]*resource.Cluster{bad, spec("good")}, nil)
	if e, ok := errors.AsType[*ClusterError](err); !ok || e.Cluster != "bad" {
		t.Errorf("%v", err)
	}
}

// TestPasswordWithoutUser: a Secret of Kubernetes need not have a username.
func TestPasswordWithoutUser(t *testing.T) {
	t.Parallel()
	s := testSet(t, nil)
	c := spec("c", host("127.0.0.1", 1))
	c.Redis.UsernameSecret = resource.SecretKey{Name: "shop/redis", Key: "username"}
	c.Redis.PasswordSecret = resource.SecretKey{Name: "shop/redis", Key: "password"}
	generic := func(values map[string]resource.DataSource) *secrets.Store {
		return secrets.NewStore([]*resource.Secret{{Name: "shop/redis", Generic: values}})
	}
	word := resource.DataSource{Inline: []byte("word")}
	source := &secrets.Live{}
	source.Offer(generic(map[string]resource.DataSource{"password": word}))
	source.Accept()
	if err := s.Apply([]*resource.Cluster{c}, source); err != nil {
		t.Fatal(err)
	}
	credentials := running(t, s, "c").Table().Options.Redis.Credentials
	if u, p, err := credentials(); u != "" || p != "word" || err != nil {
		t.Errorf("without a user: %q, %q, %v", u, p, err)
	}
	source.Offer(generic(map[string]resource.DataSource{"password": word, "username": {Inline: []byte("app")}}))
	source.Accept()
	if u, p, err := credentials(); u != "app" || p != "word" || err != nil {
		t.Errorf("with a user: %q, %q, %v", u, p, err)
	}
	source.Offer(generic(map[string]resource.DataSource{"username": word}))
	source.Accept()
	if _, _, err := credentials(); !errors.Is(err, secrets.ErrUnknown) {
		t.Errorf("without a password: %v", err)
	}
}
