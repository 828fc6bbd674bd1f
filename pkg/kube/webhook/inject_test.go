package webhook_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/dragoman-mesh/dragoman/internal/goldentest"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/kube/webhook"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// defaults are those of the tests.
func defaults(mode webhook.Mode) webhook.Defaults {
	return webhook.Defaults{
		Image: "dragoman-proxy:1.0", Mode: mode, User: 65532, ControlPlane: "dragoman-controlplane.dragoman-system.svc:15010",
		CAConfigMap: "dragoman-ca", CAKey: "ca.crt",
	}
}

// store holds the objects of documents, in the namespace shop.
func store(t *testing.T, documents string) *inventory.Store {
	t.Helper()
	s := inventory.NewStore()
	objects, errs := mesh.Decode("objects.yaml", []byte(documents), mesh.InCluster())
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		o.Meta().Namespace = "shop"
		inventory.Put(s, inventory.RefOf(o), &inventory.Object{Object: o}, time.Now())
	}
	return s
}

// TestInject: pods as they come and as they are stored. Each file of testdata
// has the pod, the objects of its namespace, and what becomes of it: the pod that
// results, or the refusal. In the comment stands the mode, if it is not native, and
// "user: 0" where the platform chooses the proxy's user.
func TestInject(t *testing.T) {
	t.Parallel()
	goldentest.Run(t, "testdata/*.txtar", func(t *testing.T, c *goldentest.Case) {
		mode := webhook.Native
		if strings.Contains(string(c.Comment), "mode: classic") {
			mode = webhook.Classic
		}
		d := defaults(mode)
		if strings.Contains(string(c.Comment), "user: 0") {
			d.User = 0
		}
		c.Compare(t, map[string]string{"result": outcome(t, d, c.Text("pod.yaml"), c.Text("objects.yaml"))})
	})
}

// TestControlPlaneElsewhere: a control plane that is no Service is known to the node's DNS, too.
func TestControlPlaneElsewhere(t *testing.T) {
	t.Parallel()
	d := defaults(webhook.Native)
	d.ControlPlane = "mesh.example.com:15010"
	if got := outcome(t, d, "{metadata: {name: web}, spec: {dnsPolicy: Default, containers: [{name: app, image: app}]}}", ""); strings.Contains(got, "dnsPolicy Default:") {
		t.Errorf("a pod that asks its node's DNS:\n%s", got)
	}
}

// outcome is the pod with its proxy, in YAML, or why it is refused. A pod that
// has its proxy is asked about again, which must change nothing.
func outcome(t *testing.T, d webhook.Defaults, pod, objects string) string {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(pod))
	if err != nil {
		t.Fatal(err)
	}
	i := &webhook.Injector{Defaults: d, Store: store(t, objects), Closed: []string{"kube-system"}}
	patch, warnings, err := i.Inject(raw, "shop")
	var out strings.Builder
	for _, w := range warnings {
		fmt.Fprintf(&out, "# warning: %s\n", w)
	}
	if err != nil {
		if !errors.Is(err, webhook.ErrRefused) {
			t.Errorf("%v is no refusal", err)
		}
		return out.String() + "# refused: " + strings.ReplaceAll(err.Error(), "\n", "\n# ") + "\n"
	}
	if patch == nil {
		return out.String() + "# as it came\n"
	}
	after := apply(t, raw, patch)
	if again, _, err := i.Inject(after, "shop"); again != nil || err != nil {
		t.Errorf("asked again: %s, %v", again, err)
	}
	text, err := yaml.JSONToYAML(after)
	if err != nil {
		t.Fatal(err)
	}
	return out.String() + string(text)
}

// apply applies a JSON Patch of additions, as RFC 6902 says.
func apply(t *testing.T, raw, patch []byte) []byte {
	t.Helper()
	var document any
	var operations []struct {
		Op, Path string
		Value    any
	}
	if err := errors.Join(json.Unmarshal(raw, &document), json.Unmarshal(patch, &operations)); err != nil {
		t.Fatal(err)
	}
	for _, o := range operations {
		if o.Op != "add" {
			t.Fatalf("operation %q", o.Op)
		}
		var path []string
		for _, p := range strings.Split(o.Path, "/")[1:] {
			path = append(path, strings.NewReplacer("~1", "/", "~0", "~").Replace(p))
		}
		document = add(t, document, path, o.Value)
	}
	out, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func add(t *testing.T, at any, path []string, value any) any {
	t.Helper()
	if len(path) == 0 {
		return value
	}
	switch node := at.(type) {
	case map[string]any:
		child, ok := node[path[0]]
		if !ok && len(path) > 1 {
			t.Fatalf("there is no %q to add to", path[0])
		}
		node[path[0]] = add(t, child, path[1:], value)
		return node
	case []any:
		if path[0] == "-" {
			return append(node, value)
		}
		n, err := strconv.Atoi(path[0])
		if err != nil || n > len(node) {
			t.Fatalf("there is no element %q", path[0])
		}
		if len(path) > 1 {
			node[n] = add(t, node[n], path[1:], value)
			return node
		}
		return append(node[:n:n], append([]any{value}, node[n:]...)...)
	}
	t.Fatalf("nothing can be added to %v", at)
	return nil
}

// TestClosedNamespaces: pods there get no proxy, whatever the webhook's
// configuration says.
func TestClosedNamespaces(t *testing.T) {
	t.Parallel()
	i := &webhook.Injector{Defaults: defaults(webhook.Native), Store: inventory.NewStore(), Closed: []string{"kube-system"}}
	patch, warnings, err := i.Inject([]byte(`{"spec": {"containers": [{"name": "app"}]}}`), "kube-system")
	if patch != nil || warnings != nil || err != nil {
		t.Errorf("%s, %q, %v", patch, warnings, err)
	}
}
