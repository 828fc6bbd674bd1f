package kube

import (
	"net/http"
	"os"
	"strings"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dragoman-mesh/dragoman/internal/adstest"
	"github.com/dragoman-mesh/dragoman/internal/meshtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// strangersAreRefused shows tokens that are worth nothing, and one of another
// namespace whose bearer lies about who it is.
func strangersAreRefused(t *testing.T, c *cluster) {
	ns, bank, port := c.Namespace(t), c.Namespace(t), redistest.Port(t)
	_, host := world(t, "here")
	c.Service(t, ns, "redis", 6379)
	c.EndpointSlice(t, ns, "redis", 6379, host)
	document := ambassador("cache", port, "dev: {service: {name: redis, port: 6379}, credentials: {secret: {name: redis}}}")
	c.Apply(t, ns, document)
	c.Secret(t, ns, "redis", map[string]string{"password": "open-sesame"})
	pod, gone, anew := c.web(t, ns, "web-0"), c.web(t, ns, "web-1"), c.web(t, ns, "web-2")
	teller := c.web(t, bank, "web-0")
	ofGone, ofAnew := c.Token(t, gone), c.Token(t, anew)
	c.DeletePod(t, gone)
	c.DeletePod(t, anew)
	if again := c.web(t, ns, "web-2"); again.UID == anew.UID {
		t.Fatal("the pod that was made anew is the same")
	}
	unbound := strings.TrimSpace(c.Kubectl(t, nil, "-n", ns, "create", "token", "web", "--audience", "dragoman"))

	ca, err := os.ReadFile(c.ca(t, ns))
	if err != nil {
		t.Fatal(err)
	}
	plane := c.replicas[0]
	open := func(token string) *adstest.Client {
		return adstest.Dial(t, plane.address, adstest.Options{CA: ca, Token: token, Node: "web-0." + ns})
	}
	tests := map[string]struct{ token, reason string }{
		"expired":                          {c.ExpiredToken(t, pod), "unknown_token"},
		"of a pod that is gone":            {ofGone, "unknown_token"},
		"of a pod that another stands for": {ofAnew, "unknown_token"},
		"for another audience":             {c.Token(t, pod, "somebody-else"), "unknown_token"},
		"for the API server":               {c.AsServiceAccount(t, ns, "web").BearerToken, "unknown_token"},
		"bound to no pod":                  {unbound, "unknown_token"},
		"made up":                          {"open.sesame.please", "unknown_token"},
		"none":                             {"", "no_credentials"},
	}
	const metric = "dragoman_controlplane_refused_credentials_total"
	for name, tt := range tests {
		before := plane.counter(metric, tt.reason)
		stranger := open(tt.token)
		stranger.Subscribe(resource.ListenerType)
		if err := stranger.AwaitEnd(); status.Code(err) != codes.Unauthenticated {
			t.Errorf("a token %s: %v", name, err)
		}
		if plane.counter(metric, tt.reason) <= before {
			t.Errorf("a token %s is not counted", name)
		}
		if tt.token != "" && meshtest.Holds(string(plane.Output()), tt.token) == nil {
			t.Errorf("the log has the token %s", name)
		}
	}

	// The bank's pod is let in as what it is. What it says of itself counts for nothing.
	liar := open(c.Token(t, teller))
	liar.Subscribe(resource.ListenerType)
	liar.Subscribe(resource.SecretType, ns+"/redis")
	liar.Subscribe(resource.ListenerType, ns+"/cache")
	liar.AwaitGone(resource.SecretType, ns+"/redis")
	liar.AwaitGone(resource.ListenerType, ns+"/cache")
	if _, ok := plane.proxies()[bank+"/web-0"]; !ok {
		t.Error("the bank's pod is not known as such")
	}

	// A real proxy with a wrong token says what is wrong.
	file := c.TokenFile(t, pod)
	if err := os.WriteFile(file, []byte(tests["expired"].token), 0o600); err != nil {
		t.Fatal(err)
	}
	proxy := run(t, "proxy", []string{"POD_NAME=web-0", "POD_NAMESPACE=" + ns}, []string{
		"run", "--control-plane", plane.address, "--control-plane-ca", c.ca(t, ns), "--token-file", file, "--config-wait", "1s",
	})
	proxy.Shows("/ready", "the token is not valid here")
	plane.Logs("a node is not admitted", "the API server does not take the token for the audience dragoman")
	// The kubelet writes a new one: it is read again.
	if err := os.WriteFile(file, []byte(c.Token(t, pod)), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Kubectl(t, nil, "-n", ns, "create", "role", "dragoman-secrets", "--verb", "get,list,watch", "--resource", "secrets", "--resource-name", "redis")
	c.Kubectl(t, nil, "-n", ns, "create", "rolebinding", "dragoman-secrets", "--role", "dragoman-secrets",
		"--serviceaccount", system+":dragoman-controlplane")
	proxy.Ready("LIVE")
	c.conditions(t, ns, "cache", "ResolvedRefs=True", "Programmed=True/Programmed: 1 of 1")
	good := open(c.Token(t, pod))
	good.Subscribe(resource.ListenerType)
	var l listenerv3.Listener
	good.Await(resource.ListenerType, ns+"/cache", &l)
}

// rightsAreFew looks at what the control plane's account may not do.
func rightsAreFew(t *testing.T, c *cluster) {
	ns := c.Namespace(t)
	c.Secret(t, ns, "redis", map[string]string{"password": "open-sesame"})
	account := c.AsServiceAccount(t, system, "dragoman-controlplane")
	for path, want := range map[string]int{
		"/api/v1/services": http.StatusOK,
		"/api/v1/namespaces/" + system + "/secrets/dragoman-ca": http.StatusOK,

		"/api/v1/secrets": http.StatusForbidden,
		"/apis/coordination.k8s.io/v1/namespaces/" + ns + "/leases/x": http.StatusForbidden,
		"/api/v1/namespaces/" + system + "/secrets":                   http.StatusForbidden,
		"/api/v1/namespaces/" + ns + "/secrets/redis":                 http.StatusForbidden,
		"/api/v1/configmaps":                                          http.StatusForbidden,
		"/api/v1/namespaces/" + ns + "/configmaps":                    http.StatusForbidden,
		"/apis/rbac.authorization.k8s.io/v1/clusterroles":             http.StatusForbidden,
		"/apis/apps/v1/namespaces/" + system + "/deployments":         http.StatusForbidden,
	} {
		if code, body := meshtest.Get(c.http, account.Host+path, account.BearerToken); code != want {
			t.Errorf("%s: got %d, want %d: %.200s", path, code, want, body)
		}
	}
}
