package kubetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Audience is that of the tokens which proxies show to the control plane.
const Audience = "dragoman"

// Token returns a token of the pod's service account that is bound to the pod, as the kubelet projects it into a volume. It is for the
// audience "dragoman" unless others are given. It holds for an hour, and no longer than the pod is there.
func (s *Server) Token(tb TB, pod *corev1.Pod, audiences ...string) string {
	tb.Helper()
	if len(audiences) == 0 {
		audiences = []string{Audience}
	}
	return s.token(tb, pod.Namespace, pod.Spec.ServiceAccountName, authenticationv1.TokenRequestSpec{
		Audiences:      audiences,
		BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	})
}

// TokenFile writes a token as Token returns it into a file, as the kubelet does for a projected volume; it is removed when the test ends.
func (s *Server) TokenFile(tb TB, pod *corev1.Pod) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "token")
	if err != nil {
		tb.Fatalf("making a directory for a token: %v", err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "token")
	if err := os.WriteFile(path, []byte(s.Token(tb, pod)), 0o600); err != nil {
		tb.Fatalf("writing a token: %v", err)
	}
	return path
}

// token asks the API for a token of a service account.
func (s *Server) token(tb TB, namespace, account string, spec authenticationv1.TokenRequestSpec) string {
	tb.Helper()
	ctx, cancel := call()
	defer cancel()
	request := &authenticationv1.TokenRequest{Spec: spec}
	answer, err := s.client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, account, request, metav1.CreateOptions{})
	if err != nil {
		tb.Fatalf("asking for a token of %s/%s: %v", namespace, account, err)
	}
	return answer.Status.Token
}

// ExpiredToken returns a token as Token does, genuine in everything, which expired a minute ago: the API itself makes none for less than ten
// minutes.
func (s *Server) ExpiredToken(tb TB, pod *corev1.Pod) string {
	tb.Helper()
	now := time.Now()
	account := s.ServiceAccount(tb, pod.Namespace, pod.Spec.ServiceAccountName)
	return s.sign(tb, map[string]any{
		"aud": []string{Audience},
		"exp": now.Add(-time.Minute).Unix(),
		"iat": now.Add(-time.Hour).Unix(),
		"nbf": now.Add(-time.Hour).Unix(),
		"iss": issuer,
		"sub": "system:serviceaccount:" + account.Namespace + ":" + account.Name,
		"kubernetes.io": map[string]any{
			"namespace":      account.Namespace,
			"pod":            map[string]any{"name": pod.Name, "uid": pod.UID},
			"serviceaccount": map[string]any{"name": account.Name, "uid": account.UID},
		},
	})
}

// sign makes a JSON Web Token of claims with the key of the API server (RFC 7515, ES256 of RFC 7518 section 3.4).
func (s *Server) sign(tb TB, claims map[string]any) string {
	tb.Helper()
	header, err := json.Marshal(map[string]string{"alg": "ES256", "typ": "JWT"})
	if err != nil {
		tb.Fatalf("writing a token's header: %v", err)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		tb.Fatalf("writing a token's claims: %v", err)
	}
	signed := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(body)
	digest := sha256.Sum256([]byte(signed))
	r, sig, err := ecdsa.Sign(rand.Reader, s.key, digest[:])
	if err != nil {
		tb.Fatalf("signing a token: %v", err)
	}
	raw := make([]byte, 64)
	r.FillBytes(raw[:32])
	sig.FillBytes(raw[32:])
	return signed + "." + base64.RawURLEncoding.EncodeToString(raw)
}

// makeKey makes the key that signs tokens of service accounts.
func (s *Server) makeKey() {
	s.tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.tb.Fatalf("making a key: %v", err)
	}
	der, err := x509.MarshalECPrivateKey(key) // the API server knows no PKCS #8
	if err != nil {
		s.tb.Fatalf("encoding a key: %v", err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	if err := os.WriteFile(s.keyFile(), block, 0o600); err != nil {
		s.tb.Fatalf("writing a key: %v", err)
	}
	s.key = key
}

// keyFile holds the key that signs tokens of service accounts.
func (s *Server) keyFile() string { return filepath.Join(s.dir, "accounts.key") }
