package kube

import (
	"fmt"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/meshtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// TestInCluster are the tests that share a cluster with two replicas.
func TestInCluster(t *testing.T) {
	t.Parallel()
	c := newCluster(t, suite.Server(t))
	for _, name := range []string{"controlplane-0", "controlplane-1"} {
		t.Cleanup(c.start(t, name, "").onlySecretsWereForbidden)
	}
	// First and alone: kubectl looks each object up before it sends it, and others
	// make and delete the same examples.
	t.Run("ManifestsApply", func(t *testing.T) { manifestsApply(t, c.in(t)) })
	t.Run("PodMonitorsApply", func(t *testing.T) { podMonitorsApply(t, c.in(t)) })
	tests := map[string]func(*testing.T, *cluster){
		"AdaptersServe":        adaptersServe,
		"LogsAreShipped":       logsAreShipped,
		"LogsAreMounted":       logsAreMounted,
		"LogsComeAndGo":        logsComeAndGo,
		"ExampleRuns":          exampleRuns,
		"PodsGetTheirProxy":    podsGetTheirProxy,
		"WorkloadsAreInjected": workloadsAreInjected,
		"CronJobsAreInjected":  cronJobsAreInjected,
		"PodsAreLeftAlone":     podsAreLeftAlone,
		"WrongOnesAreRefused":  wrongOnesAreRefused,
		"EndpointsMove":        endpointsMove,
		"LeaderMoves":          leaderMoves,
		"SecretRotates":        secretRotates,
		"EnvironmentMoves":     environmentMoves,
		"DatabasesMove":        databasesMoveUnderLoad,
		"DatabaseSecret":       databaseSecretRotates,
		"StatusSays":           statusSays,
		"AdaptersAreAccepted":  adaptersAreAccepted,
		"BadOneIsRefused":      badOneIsRefused,
		"PodsAreShards":        podsAreShards,
		"OtherServices":        otherServices,
		"RightsAreFew":         rightsAreFew,
		"StrangersAreRefused":  strangersAreRefused,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, c.in(t))
		})
	}
}

// endpointsMove edits an EndpointSlice: the pool of the proxy has another server,
// and so has the app, which stays connected and notices nothing.
func endpointsMove(t *testing.T, c *cluster) {
	ns, port := c.Namespace(t), redistest.Port(t)
	one, first := world(t, "one")
	two, second := world(t, "two")
	c.Service(t, ns, "redis", 6379)
	c.EndpointSlice(t, ns, "redis", 6379, first)
	c.Apply(t, ns, ambassador("cache", port, "dev: {service: {name: redis, port: 6379}}"))
	pod := c.web(t, ns, "web-0")
	proxy := c.proxy(t, pod, t.TempDir())
	proxy.Ready("LIVE")
	app := startApp(t, port, "one")
	proxy.Shows("/clusters", one.Addr())

	for i, to := range []string{"two", "one", "two"} {
		c.EndpointSlice(t, ns, "redis", 6379, []string{second, first}[i%2])
		app.is(to)
	}
	proxy.Eventually("the pool to have the second server alone", func() error {
		_, body := proxy.Get("/clusters")
		if meshtest.Holds(body, one.Addr()) == nil {
			return fmt.Errorf("%s", body)
		}
		return meshtest.Holds(body, two.Addr())
	})
	app.stop()
	before := one.Calls("get")
	client := redistest.Dial(t, local(port))
	for range 20 {
		if got := client.Do("GET", "where"); got != bulk("two") {
			t.Errorf("got %q", got)
		}
	}
	if n := one.Calls("get") - before; n != 0 {
		t.Errorf("the first server is still asked: %d times", n)
	}
}

// secretRotates changes a password as one does: both hold, the Secret changes,
// the old one holds no more.
func secretRotates(t *testing.T, c *cluster) {
	ns, port := c.Namespace(t), redistest.Port(t)
	node, host := world(t, "here", redistest.WithUser("admin", "the-administrators", "~* &* +@all"), redistest.WithPassword("the-first-password"))
	c.Service(t, ns, "redis", 6379)
	c.EndpointSlice(t, ns, "redis", 6379, host)
	c.Apply(t, ns, ambassador("cache", port, "dev: {service: {name: redis, port: 6379}, credentials: {secret: {name: redis}}}"))
	c.conditions(t, ns, "cache", "ResolvedRefs=False/SecretNotFound", "is forbidden")
	c.Kubectl(t, nil, "-n", ns, "create", "rolebinding", "dragoman-secrets", "--clusterrole", "dragoman-secrets",
		"--serviceaccount", system+":dragoman-controlplane")
	c.Secret(t, ns, "redis", map[string]string{"password": "the-first-password"})
	pod := c.web(t, ns, "web-0")
	proxy := c.proxy(t, pod, t.TempDir())
	proxy.Ready("LIVE")
	app := startApp(t, port, "here")
	before := c.saw(t, pod, "synced")

	admin := redistest.Dial(t, node.Addr())
	do := func(args ...string) {
		t.Helper()
		if got := admin.Do(args...); got[0] != '+' && got[0] != ':' {
			t.Fatalf("%q: %q", args, got)
		}
	}
	do("AUTH", "admin", "the-administrators")
	do("ACL", "SETUSER", "default", ">the-second-password")
	c.Secret(t, ns, "redis", map[string]string{"password": "the-second-password"})
	proxy.Eventually("the proxy to have the new password", func() error {
		if c.saw(t, pod, "synced") == before {
			return fmt.Errorf("still %s", before)
		}
		return nil
	})
	do("ACL", "SETUSER", "default", "<the-first-password")
	app.stop()
	idle := redistest.Dial(t, local(port))
	idle.Do("GET", "where")
	do("CLIENT", "KILL", "USER", "default")
	// What is under way when a server closes is lost; the client stays connected.
	proxy.Eventually("the client to be served by a new connection", func() error {
		if got := idle.Do("GET", "where"); got != bulk("here") {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
	for _, what := range append([]*program{proxy}, c.replicas[0].program, c.replicas[1].program) {
		_, dump := what.Get("/config_dump")
		if text := dump + string(what.Output()); meshtest.Holds(text, "first-password") == nil || meshtest.Holds(text, "second-password") == nil {
			t.Errorf("the %s shows a password", what.Name)
		}
	}
}

// environmentMoves gives the pod another environment, then the namespace: the app
// stays connected, and is elsewhere once its transaction is over.
func environmentMoves(t *testing.T, c *cluster) {
	ns, port := c.Namespace(t), redistest.Port(t)
	_, dev := world(t, "dev")
	_, prod := world(t, "prod")
	for name, host := range map[string]string{"redis-dev": dev, "redis-prod": prod} {
		c.Service(t, ns, name, 6379)
		c.EndpointSlice(t, ns, name, 6379, host)
	}
	c.Apply(t, ns, ambassador("cache", port,
		"dev: {service: {name: redis-dev, port: 6379}}", "prod: {service: {name: redis-prod, port: 6379}}"))
	pod := c.web(t, ns, "web-0")
	proxy := c.proxy(t, pod, t.TempDir())
	proxy.Ready("LIVE")
	app := startApp(t, port, "dev")
	busy := redistest.Dial(t, local(port))
	for _, command := range [][]string{{"MULTI"}, {"GET", "where"}} {
		if got := busy.Do(command...); got[0] != '+' {
			t.Fatalf("%q: %q", command, got)
		}
	}

	const label = "mesh.dragoman.io/environment"
	c.Label(t, pod, label, "prod")
	app.is("prod")
	if got, want := busy.Do("EXEC"), "*1\r\n"+bulk("dev"); got != want {
		t.Errorf("the transaction ended with %q, want %q", got, want)
	}
	if got := busy.Do("GET", "where"); got != bulk("prod") {
		t.Errorf("after its transaction a client is in %q", got)
	}
	proxy.Shows("/listeners?format=json", `"environment": "prod"`)
	if got := c.environment(pod); got != "prod, by pod label "+label {
		t.Errorf("the control plane says %q", got)
	}

	c.Label(t, pod, label, "")
	app.is("dev")
	c.LabelNamespace(t, ns, label, "prod")
	app.is("prod")
	if got := c.environment(pod); got != "prod, by namespace label "+label {
		t.Errorf("the control plane says %q", got)
	}
}
