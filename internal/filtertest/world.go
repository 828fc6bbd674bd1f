package filtertest

import (
	"crypto/tls"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

// Main is the cluster that every world has.
const Main = "main"

// Stale is a password that a [Rotating] source gives once.
const Stale = "stale"

// Cluster is a filters.Cluster whose table a test sets. What is reported of endpoints changes nothing.
type Cluster struct {
	name  string
	table atomic.Pointer[filters.Table]
}

// Name implements filters.Cluster.
func (c *Cluster) Name() string { return c.name }

// Table implements filters.Cluster.
func (c *Cluster) Table() *filters.Table { return c.table.Load() }

// Report implements filters.Cluster.
func (*Cluster) Report(*filters.Endpoint, filters.Outcome) {}

// Refresh implements filters.Cluster.
func (*Cluster) Refresh(string) {}

// Set makes t what the cluster's table is from now on.
func (c *Cluster) Set(t *filters.Table) { c.table.Store(t) }

// Lead makes a cluster of healthy endpoints; an address that is a path is one of a unix socket. cfg is for TLS that begins in mid-connection; nil for
// none.
func (c *Cluster) Lead(cfg *tls.Config, addresses ...string) {
	t := &filters.Table{Version: 1, Options: &filters.UpstreamOptions{ConnectTimeout: 5 * time.Second, StartTLS: cfg != nil}}
	for _, a := range addresses {
		e := &filters.Endpoint{Network: "tcp", Address: a, Weight: 1, TLS: cfg}
		if strings.HasPrefix(a, "/") {
			e.Network = "unix"
		}
		e.SetHealthy(true)
		t.Shards = append(t.Shards, filters.Shard{Name: a, Primary: e})
	}
	c.Set(t)
}

// World is what a filter finds around it: clusters by name, and secrets.
type World struct {
	mu       sync.Mutex // guards below
	clusters map[string]*Cluster
	secrets  map[string]string
}

// NewWorld makes one with the cluster Main of some endpoints without TLS, and a user of the servers of dbtest.
func NewWorld(user string, addresses ...string) *World {
	w := &World{clusters: map[string]*Cluster{}, secrets: map[string]string{"user": user, "password": dbtest.Password}}
	w.Add(Main).Lead(nil, addresses...)
	return w
}

// Add makes a cluster, which has no table yet.
func (w *World) Add(name string) *Cluster {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := &Cluster{name: name}
	w.clusters[name] = c
	return c
}

// At returns a cluster that was made.
func (w *World) At(name string) *Cluster {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clusters[name]
}

// Cluster implements filters.ClusterSource.
func (w *World) Cluster(name string) (filters.Cluster, bool) {
	c := w.At(name)
	return c, c != nil
}

var errNoSecret = errors.New("no such secret")

// Secret implements filters.SecretSource.
func (w *World) Secret(name string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v, ok := w.secrets[name]
	if !ok {
		return "", errNoSecret
	}
	return v, nil
}

// Set changes a secret.
func (w *World) Set(name, value string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secrets[name] = value
}

// Rotating is a source of secrets that has the right password as soon as it is asked for it anew.
type Rotating struct{ *World }

// Refetch implements filters.SecretRefetcher.
func (r Rotating) Refetch(name string) {
	if name == "password" {
		r.Set(name, dbtest.Password)
	}
}
