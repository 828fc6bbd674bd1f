package kube_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dragoman-mesh/dragoman/internal/kubetest"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
)

// password gives what the inventory has of a Secret's key.
func password(p *plane, ns string) func() string {
	return func() string {
		s := p.store.Secret(inventory.Key{Namespace: ns, Name: "redis-prod"})
		if s == nil {
			return "none"
		}
		return string(s.Data["password"])
	}
}

// allowSecrets lets the control plane read the named Secrets and ConfigMaps of a
// namespace, and no others.
func allowSecrets(t *testing.T, api *kubetest.Server, system, ns string, names ...string) {
	t.Helper()
	api.Apply(t, ns, `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: dragoman-secrets}
rules:
- {apiGroups: [""], resources: [secrets, configmaps], verbs: [get, list, watch], resourceNames: [`+strings.Join(names, ", ")+`]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: dragoman-secrets}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: dragoman-secrets}
subjects: [{kind: ServiceAccount, name: dragoman-controlplane, namespace: `+system+`}]
`)
}

// TestSourceFollowsNamedSecrets: only what an object names is read, with a role
// that allows no more than that; rotation and absence are seen; and it is
// forgotten when nobody names it any more.
func TestSourceFollowsNamedSecrets(t *testing.T) {
	t.Parallel()
	api, p := shared(t)
	ns := api.Namespace(t)
	allowSecrets(t, api, p.system, ns, "redis-prod", "redis-ca")
	api.Secret(t, ns, "other", map[string]string{"password": "secret"})
	api.Apply(t, ns, cacheObject)
	key := inventory.Key{Namespace: ns, Name: "redis-prod"}
	ref := inventory.Ref{Kind: inventory.KindSecret, Key: key}

	eventually(t, "the object", true, func() bool { return p.store.Ambassador(inventory.Key{Namespace: ns, Name: "cache"}) != nil })
	api.Secret(t, ns, "redis-prod", map[string]string{"password": "one"})
	eventually(t, "a Secret that came later", "one", password(p, ns))
	api.Secret(t, ns, "redis-prod", map[string]string{"password": "two"})
	eventually(t, "rotation", "two", password(p, ns))
	api.Apply(t, ns, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: redis-ca}\ndata: {ca.crt: PEM}\n")
	eventually(t, "the ConfigMap", "PEM", func() string {
		if m := p.store.ConfigMap(inventory.Key{Namespace: ns, Name: "redis-ca"}); m != nil {
			return string(m.Data["ca.crt"])
		}
		return ""
	})
	if p.store.Secret(inventory.Key{Namespace: ns, Name: "other"}) != nil {
		t.Error("a Secret that nobody names was read")
	}
	if err := p.source.WantProblem(ref); err != nil {
		t.Errorf("a problem that is none: %v", err)
	}
	if err := api.Client().CoreV1().Secrets(ns).Delete(t.Context(), "redis-prod", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "deleted", "none", password(p, ns))
	api.Secret(t, ns, "redis-prod", map[string]string{"password": "three"})
	eventually(t, "made again", "three", password(p, ns))

	// A second object names it, the first goes: it stays. Both are gone: so is it.
	api.Apply(t, ns, strings.NewReplacer("name: cache", "name: cart", "6380", "6381").Replace(cacheObject))
	eventually(t, "the second object", true, func() bool { return p.store.Ambassador(inventory.Key{Namespace: ns, Name: "cart"}) != nil })
	deleteAmbassador(t, api, ns, "cache")
	eventually(t, "the first is gone", true, func() bool { return p.store.Ambassador(inventory.Key{Namespace: ns, Name: "cache"}) == nil })
	if got := password(p, ns)(); got != "three" {
		t.Errorf("the Secret of the second object is %q", got)
	}
	deleteAmbassador(t, api, ns, "cart")
	eventually(t, "nobody names it", "none", password(p, ns))
}

// TestSourceSaysWhatItMayNotRead: without a role the object is there, the Secret
// is not, and the reason names what to do; with the role it comes.
func TestSourceSaysWhatItMayNotRead(t *testing.T) {
	t.Parallel()
	api, p := shared(t)
	ns := api.Namespace(t)
	ref := inventory.Ref{Kind: inventory.KindSecret, Key: inventory.Key{Namespace: ns, Name: "redis-prod"}}
	api.Secret(t, ns, "redis-prod", map[string]string{"password": "one"})
	api.Apply(t, ns, cacheObject)
	reason := func(err error) bool {
		return err != nil && strings.Contains(err.Error(), "forbidden") && strings.Contains(err.Error(), "rbac.yaml")
	}
	eventually(t, "a reason", true, func() bool { return reason(p.source.WantProblem(ref)) && reason(p.source.Problem()) })
	allowSecrets(t, api, p.system, ns, "redis-prod", "redis-ca")
	eventually(t, "allowed", "one", password(p, ns))
	eventually(t, "no reason", true, func() bool { return p.source.WantProblem(ref) == nil })
}
