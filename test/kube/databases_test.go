package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/meshtest"
	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// load is an app of one protocol that commits transactions all the time, each of
// which writes twice. Its servers say what has become of them.
type load interface {
	// run begins to work, until it is told to stop and its sessions have ended.
	run(ctx context.Context, wg *sync.WaitGroup, stop *atomic.Bool)
	// in gives how many transactions an environment has, and how many of them are
	// not whole.
	in(environment string) (whole, torn int, err error)
	// users gives how many connections an environment has of the app.
	users(environment string) (int, error)
	// committed is what the app has been told.
	committed() int
}

// databasesMoveUnderLoad changes the label of a pod while pgbench and apps of
// MariaDB and Redis work in it: no transaction is torn or lost, each is where it
// began, and once all have left the first environment, nothing comes there.
func databasesMoveUnderLoad(t *testing.T, c *cluster) {
	ns := c.Namespace(t)
	c.Kubectl(t, nil, "-n", ns, "create", "rolebinding", "dragoman-secrets", "--clusterrole", "dragoman-secrets",
		"--serviceaccount", system+":dragoman-controlplane")
	c.Secret(t, ns, "orders", map[string]string{"username": dbtest.SCRAMUser, "password": dbtest.Password})
	c.Secret(t, ns, "stock", map[string]string{"username": dbtest.NativeUser, "password": dbtest.Password})
	orders := pgbenchLoad(t, c, ns)
	loads := map[string]load{"pgbench": orders, "MariaDB": mariadbLoad(t, c, ns), "Redis": redisLoad(t, c, ns)}
	status := statusAdapter(t, c, ns)
	pod := c.web(t, ns, "web-0")
	proxy := c.proxy(t, pod, t.TempDir())
	proxy.Ready("LIVE")
	for _, name := range []string{"orders", "stock", "cache"} { // a port comes with what its listener needs, its Secret too
		proxy.Eventually(name+" to listen", func() error {
			if !strings.Contains(string(proxy.Output()), `"listener":"`+ns+"/"+name+`"`) {
				return errors.New("nobody does")
			}
			return nil
		})
	}

	ctx, cancel := context.WithTimeout(t.Context(), 4*limit)
	defer cancel()
	var stop atomic.Bool
	var wg sync.WaitGroup
	for _, l := range loads {
		l.run(ctx, &wg, &stop)
	}
	const label, enough = "mesh.dragoman.io/environment", 100
	reach := func(environment string, more int) {
		for name, l := range loads {
			from, _, _ := l.in(environment)
			proxy.Eventually(name+" to work in "+environment, func() error {
				n, _, err := l.in(environment)
				if n < from+more {
					err = errors.Join(err, fmt.Errorf("%d transactions, then %d", from, n))
				}
				return err
			})
		}
	}
	leave := func(environment string) {
		for name, l := range loads {
			proxy.Eventually(name+" to leave "+environment, func() error {
				n, err := l.users(environment)
				if n > 0 {
					err = errors.Join(err, fmt.Errorf("%d connections", n))
				}
				return err
			})
		}
	}
	reach("dev", enough)
	c.Label(t, pod, label, "prod")
	leave("dev")
	if got := c.environment(pod); got != "unknown" && !strings.HasPrefix(got, "prod") {
		t.Errorf("the control plane says %q", got)
	}
	at := map[string]int{}
	for name, l := range loads {
		at[name], _, _ = l.in("dev")
	}
	reach("prod", enough)
	for name, l := range loads {
		if n, _, err := l.in("dev"); n != at[name] {
			t.Errorf("%s: dev had %d transactions when all had left it, and then %d, %v", name, at[name], n, err)
		}
	}
	proxy.Eventually("the status of all databases", func() error {
		_, page := meshtest.Get(nettest.Client, status, "")
		return meshtest.Holds(page, "\npg_up 1\n", "\nmysql_up 1\n", "\nredis_up 1\n", fmt.Sprintf("pg_stat_activity_count{datname=%q,state=\"active\",usename=%q}", dbtest.Database, dbtest.SCRAMUser))
	})
	stop.Store(true)
	c.Label(t, pod, label, "") // pgbench goes on until it is told
	wg.Wait()
	for name, l := range loads {
		dev, tornDev, err1 := l.in("dev")
		prod, tornProd, err2 := l.in("prod")
		if err := errors.Join(err1, err2); err != nil || tornDev+tornProd > 0 {
			t.Errorf("%s: %d transactions in dev and %d in prod are torn, %v", name, tornDev, tornProd, err)
		}
		if got := l.committed(); got != dev+prod || dev < enough || prod < enough {
			t.Errorf("%s: %d transactions in dev and %d in prod, and the app has been told of %d", name, dev, prod, got)
		}
	}
	if got, want := proxy.counter("dragoman_postgres_errors_total", `code="57P01"`), float64(orders.ended.Load()); got < want || want == 0 {
		t.Errorf("%v sessions of pgbench have ended, %v were told 57P01", want, got)
	}
	for _, name := range []string{"dragoman_postgres_closed_total", "dragoman_mysql_closed_total"} {
		if n := proxy.counter(name, `reason="retired"`); n > 0 {
			t.Errorf("%s: %v sessions were cut", name, n)
		}
	}
}

// statusAdapter is an Adapter that asks all databases through their Ambassadors;
// it says where that is shown.
func statusAdapter(t *testing.T, c *cluster, ns string) string {
	t.Helper()
	port := redistest.Port(t)
	c.Apply(t, ns, fmt.Sprintf(`
apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: databases}
spec:
  metrics:
    listen: {address: 127.0.0.1, port: %d}
    sources:
    - {name: orders, postgres: {ambassador: {name: orders}}}
    - {name: stock, mysql: {ambassador: {name: stock}}}
    - {name: cache, redis: {ambassador: {name: cache}}}
`, port))
	return "http://" + local(port) + "/metrics"
}

// lead makes a Service of each environment's server.
func lead(t *testing.T, c *cluster, ns, name string, servers map[string]int) (environments []string, hosts map[string]string) {
	t.Helper()
	hosts = map[string]string{}
	for _, environment := range []string{"dev", "prod"} {
		service, port := name+"-"+environment, servers[environment]
		hosts[environment] = suite.Addresses(t, 1)[0].String()
		c.Service(t, ns, service, int32(port))
		c.EndpointSlice(t, ns, service, int32(port), hosts[environment])
		environments = append(environments, fmt.Sprintf("%s: {service: {name: %s, port: %d}", environment, service, port))
	}
	return environments, hosts
}

// database is the Ambassador of one.
func database(name, protocol string, port int, environments []string) string {
	for i := range environments {
		environments[i] += fmt.Sprintf(", database: %s, credentials: {secret: {name: %s}}}", dbtest.Database, name)
	}
	return strings.Replace(ambassador(name, port, environments...), "protocol: redis", "protocol: "+protocol, 1)
}
