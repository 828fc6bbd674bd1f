package mesh_test

import (
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// TestWordsOfOthers: who writes a value by the name that it has elsewhere is told the name that it has here.
func TestWordsOfOthers(t *testing.T) {
	t.Parallel()
	const document = `apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: orders}
spec:
  protocol: postgres
  listen: {port: 5432}
  environments: {prod: {address: "db:5432", credentials: {username: u, passwordFile: p}, WHAT}}
  defaultEnvironment: prod
`
	tests := []struct{ what, want string }{
		{"tls: {mode: VERIFY_IDENTITY}", `mode: unknown value "VERIFY_IDENTITY" (did you mean "verify-full"?)`},
		{"tls: {mode: VERIFY_CA}", `(did you mean "verify-ca"?)`},
		{"tls: {mode: PREFERRED}", `(did you mean "prefer"?)`},
		{"tls: {mode: REQUIRED}", `(did you mean "require"?)`},
		{"tls: {mode: DISABLED}", `(did you mean "disable"?)`},
		{"tls: {mode: skip-verify}", `(did you mean "require"?)`},
		{"tls: {mode: VERIFY_TRUST_CHAIN}", `(did you mean "verify-ca"?)`},
		{"tls: {mode: MUTUAL}", `(did you mean "verify-full"?)`},
		{"tls: {mode: true}", `must be a string, not the boolean true (did you mean "verify-full"?)`},
		{"tls: {mode: 1}", `must be a string, not the number 1 (one of disable, prefer, require, verify-ca, verify-full)`},
		{"tls: {mode: whatever it takes}", `(one of disable, prefer, require, verify-ca, verify-full)`},
		{"targetSessionAttrs: preferSecondary", `(did you mean "prefer-standby"?)`},
		{"targetSessionAttrs: master", `(did you mean "primary"?)`},
		{"access: ro", `(did you mean "ReadOnly"?)`},
		{"requireAuth: [trust]", `(did you mean "none"?)`},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			_, errs := mesh.Decode("a.yaml", []byte(strings.Replace(document, "WHAT", tt.what, 1)))
			if len(errs) != 1 || !strings.Contains(errs.Error(), tt.want) {
				t.Errorf("got %v, want %q", errs, tt.want)
			}
		})
	}
	for protocol, want := range map[string]string{"postgresql": "postgres", "pg": "postgres", "MariaDB": "mysql", "valkey": "redis", "gRPC": "http"} {
		_, errs := mesh.Decode("a.yaml", []byte(strings.Replace(strings.Replace(document, ", WHAT", "", 1), "protocol: postgres", "protocol: "+protocol, 1)))
		if len(errs) != 1 || !strings.Contains(errs.Error(), `(did you mean "`+want+`"?)`) {
			t.Errorf("protocol %s: %v, want %s", protocol, errs, want)
		}
	}
}
