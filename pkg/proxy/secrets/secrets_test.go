package secrets_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/proxy/secrets"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func generic(name string, values map[string]resource.DataSource) *resource.Secret {
	return &resource.Secret{Name: name, Generic: values}
}

func TestValues(t *testing.T) {
	t.Parallel()
	path := file(t, "password", "from file\n")
	env := func(name string) (string, bool) { return "from env", name == "PASSWORD" }
	set, err := secrets.Load([]*resource.Secret{
		generic("one", map[string]resource.DataSource{"": {Filename: path}}),
		generic("ns/two", map[string]resource.DataSource{
			"username": {Inline: []byte("inline\n")},
			"password": {Env: "PASSWORD"},
		}),
	}, env)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"one": "from file", "ns/two/username": "inline\n", "ns/two/password": "from env",
	} {
		if got, err := set.Secret(name); err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", name, got, err, want)
		}
	}
	if got, err := set.Value(resource.SecretKey{Name: "ns/two", Key: "password"}); err != nil || got != "from env" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := set.Secret("ns/two"); !errors.Is(err, secrets.ErrUnknown) {
		t.Errorf("a resource of two values without a key: %v", err)
	}
	if diff := cmp.Diff([]string{path}, set.Files()); diff != "" {
		t.Error(diff)
	}
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	path := file(t, "password", "old")
	set, err := secrets.Load([]*resource.Secret{generic("s", map[string]resource.DataSource{"": {Filename: path}})}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if changed, err := set.Refresh(); changed || err != nil {
		t.Errorf("nothing has changed: %v, %v", changed, err)
	}
	if err := os.WriteFile(path, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if changed, err := set.Refresh(); !changed || err != nil {
		t.Errorf("the file has changed: %v, %v", changed, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := set.Refresh(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is gone: %v", err)
	}
	if got, err := set.Secret("s"); got != "new" || err != nil {
		t.Errorf("the last good value must stay: %q, %v", got, err)
	}
}

func TestLoadReportsAll(t *testing.T) {
	t.Parallel()
	_, err := secrets.Load([]*resource.Secret{
		generic("a", map[string]resource.DataSource{"": {Filename: "/nonexistent/a"}}),
		generic("b", map[string]resource.DataSource{"": {Env: "NOT_SET_ANYWHERE"}}),
		{Name: "c", Certificate: &resource.CertificateSecret{
			Chain: resource.DataSource{Inline: []byte("no")}, Key: resource.DataSource{Inline: []byte("pem")},
		}},
		{Name: "d", Validation: &resource.ValidationSecret{CA: resource.DataSource{Inline: []byte("no pem")}}},
	}, nil)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{`secret "a"`, "NOT_SET_ANYWHERE", `secret "c"`, `secret "d"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
}

// pair makes a self-signed certificate, in PEM.
func pair(t *testing.T, name string) (chain, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	chain, key := pair(t, "a.test")
	set, err := secrets.Load([]*resource.Secret{
		{Name: "cert", Certificate: &resource.CertificateSecret{
			Chain: resource.DataSource{Filename: file(t, "c", chain)}, Key: resource.DataSource{Filename: file(t, "k", key)},
		}},
		{Name: "ca", Validation: &resource.ValidationSecret{CA: resource.DataSource{Inline: []byte(chain)}, Names: []string{"a.test"}}},
		{Name: "system", Validation: &resource.ValidationSecret{SystemRoots: true}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := set.KeyPair("cert"); err != nil || len(p.Certificate) != 1 {
		t.Errorf("KeyPair: %v, %v", p, err)
	}
	trust, err := set.Trust("ca")
	if err != nil || trust.Roots == nil || len(trust.Names) != 1 {
		t.Errorf("Trust: %v, %v", trust, err)
	}
	if trust, err := set.Trust("system"); err != nil || trust.Roots != nil {
		t.Errorf("Trust of the system: %v, %v", trust, err)
	}
	if _, err := set.KeyPair("ca"); !errors.Is(err, secrets.ErrUnknown) {
		t.Errorf("KeyPair of a validation context: %v", err)
	}
}
