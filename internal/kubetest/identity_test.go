package kubetest

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

func TestTokenOfAPodTellsWhoItIs(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	ns := api.Namespace(t)
	pod := api.Pod(t, PodSpec{Namespace: ns, Name: "web-0", ServiceAccount: "web", Node: "node-1"})
	token, err := os.ReadFile(api.TokenFile(t, pod))
	if err != nil {
		t.Fatal(err)
	}
	status := review(t, api, string(token))
	if !status.Authenticated {
		t.Fatalf("refused: %s", status.Error)
	}
	want := map[string][]string{
		"name":     {"system:serviceaccount:" + ns + ":web"},
		"audience": {"dragoman"},
		"pod":      {"web-0"},
		"uid":      {string(pod.UID)},
		"node":     {"node-1"},
	}
	got := map[string][]string{
		"name":     {status.User.Username},
		"audience": status.Audiences,
		"pod":      status.User.Extra["authentication.kubernetes.io/pod-name"],
		"uid":      status.User.Extra["authentication.kubernetes.io/pod-uid"],
		"node":     status.User.Extra["authentication.kubernetes.io/node-name"],
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("identity (-want +got):\n%s", diff)
	}
}

func TestTokensThatAreRefused(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	pod := api.Pod(t, PodSpec{Namespace: api.Namespace(t), Name: "web-0"})
	gone := api.Pod(t, PodSpec{Namespace: pod.Namespace, Name: "web-1"})
	tokenOfGone := api.Token(t, gone)
	api.DeletePod(t, gone)
	tests := []struct{ name, token, want string }{
		{"expired", api.ExpiredToken(t, pod), "expired"},
		{"for another audience", api.Token(t, pod, "vault"), "audience"},
		{"of a pod that is gone", tokenOfGone, ""},
		{"altered", api.Token(t, pod) + "A", ""},
		{"of nobody", "no-token", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			// What the API server knows of pods lags behind a little.
			redistest.Eventually(t, callLimit, "a refusal", func() error {
				status := review(t, api, tt.token)
				if status.Authenticated {
					return errors.New("the token is accepted")
				}
				if !strings.Contains(status.Error, tt.want) {
					t.Fatalf("refused for another reason: %s", status.Error)
				}
				return nil
			})
		})
	}
}

// review asks the API who shows a token meant for us.
func review(t *testing.T, api *Server, token string) authenticationv1.TokenReviewStatus {
	t.Helper()
	request := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{Audience}}}
	answer, err := api.Client().AuthenticationV1().TokenReviews().Create(t.Context(), request, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status
}

func TestRightsAreThoseThatRolesGrant(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	ns := api.Namespace(t)
	api.Apply(t, ns, `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [pods], verbs: [list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: readers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects:
- {kind: ServiceAccount, name: reader}
- {kind: User, name: ann, apiGroup: rbac.authorization.k8s.io}
- {kind: Group, name: staff, apiGroup: rbac.authorization.k8s.io}
`)
	tests := []struct {
		name    string
		config  *rest.Config
		allowed bool
	}{
		{"administrator", api.Config(), true},
		{"service account", api.AsServiceAccount(t, ns, "reader"), true},
		{"another service account", api.AsServiceAccount(t, ns, "other"), false},
		{"user", api.As("ann"), true},
		{"member of a group", api.As("bob", "staff"), true},
		{"another user", api.As("eve"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			pods := client(t, tt.config).CoreV1().Pods(ns)
			// RBAC, too, reads roles from a cache.
			redistest.Eventually(t, callLimit, "the right", func() error {
				_, err := pods.List(t.Context(), metav1.ListOptions{})
				switch {
				case tt.allowed:
					return err
				case !apierrors.IsForbidden(err):
					t.Fatalf("got %v, want forbidden", err)
				}
				return nil
			})
			if _, err := client(t, tt.config).CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{}); tt.name != "administrator" && !apierrors.IsForbidden(err) {
				t.Errorf("pods of another namespace: got %v, want forbidden", err)
			}
		})
	}
	_, err := client(t, api.WithToken("wrong")).CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{})
	if !apierrors.IsUnauthorized(err) {
		t.Errorf("a wrong token: got %v, want unauthorized", err)
	}
}

func client(t *testing.T, config *rest.Config) kubernetes.Interface {
	t.Helper()
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
