package secrets_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/secrets"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

var _ filters.SecretSource = (*secrets.Store)(nil)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestValues(t *testing.T) {
	t.Setenv("SECRETS_TEST", "from env\n")
	path := filepath.Join(t.TempDir(), "password")
	filetest.Put(t, path, "from file\n")
	s := secrets.NewStore([]*resource.Secret{
		{Name: "inline", Generic: map[string]resource.DataSource{"": {Inline: []byte("x\n")}}},
		{Name: "empty", Generic: map[string]resource.DataSource{"": {}}},
		{Name: "env", Generic: map[string]resource.DataSource{"": {Env: "SECRETS_TEST"}}},
		{Name: "noenv", Generic: map[string]resource.DataSource{"": {Env: "SECRETS_TEST_NOT_SET"}}},
		{Name: "file", Generic: map[string]resource.DataSource{"": {Filename: path}}},
		{Name: "nofile", Generic: map[string]resource.DataSource{"": {Filename: path + ".not"}}},
		{Name: "ns/one", Generic: map[string]resource.DataSource{"password": {Inline: []byte("p")}}},
		{Name: "ns/two", Generic: map[string]resource.DataSource{
			"username": {Inline: []byte("u")}, "password": {Inline: []byte("p")},
		}},
		{Name: "ca", Validation: &resource.ValidationSecret{SystemRoots: true}},
	})
	tests := []struct {
		name, want string
		err        error
	}{
		{name: "inline", want: "x\n"},
		{name: "empty"},
		{name: "env", want: "from env\n"},
		{name: "noenv", err: secrets.ErrEnv},
		{name: "file", want: "from file"},
		{name: "nofile", err: os.ErrNotExist},
		{name: "ns/one", want: "p"},
		{name: "ns/one/password", want: "p"},
		{name: "ns/two/username", want: "u"},
		{name: "ns/two", err: secrets.ErrUnknown},
		{name: "ns/two/other", err: secrets.ErrUnknown},
		{name: "other", err: secrets.ErrUnknown},
		{name: "ca", err: secrets.ErrKind},
	}
	for _, tc := range tests {
		got, err := s.Secret(tc.name)
		if got != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("Secret(%q) = %q, %v, want %q, %v", tc.name, got, err, tc.want, tc.err)
		}
	}
	filetest.Put(t, path, "changed")
	if got, err := s.Secret("file"); got != "changed" || err != nil {
		t.Errorf("after the file changed: %q, %v", got, err)
	}
}

func TestCertificateFollowsItsFiles(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	dir := t.TempDir()
	chain, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	s := secrets.NewStore([]*resource.Secret{{
		Name:        "cert",
		Certificate: &resource.CertificateSecret{Chain: resource.DataSource{Filename: chain}, Key: resource.DataSource{Filename: key}},
	}})
	if _, err := s.Certificate("cert"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without files: %v", err)
	}
	filetest.Put(t, chain, read(t, pki.ClientCertFile))
	filetest.Put(t, key, read(t, pki.ClientKeyFile))
	first, err := s.Certificate("cert")
	if err != nil {
		t.Fatal(err)
	}
	nextChain, nextKey := pki.Issue("next", "localhost")
	filetest.Put(t, chain, read(t, nextChain))
	if half, err := s.Certificate("cert"); err != nil || half != first {
		t.Errorf("with a chain that does not fit the key: %p, %v, want the old one %p", half, err, first)
	}
	filetest.Put(t, key, read(t, nextKey))
	next, err := s.Certificate("cert")
	if err != nil || next.Leaf.Subject.CommonName != "next" {
		t.Errorf("after both files changed: %v", err)
	}
	if again, err := s.Certificate("cert"); err != nil || again != next {
		t.Errorf("parsed again without need: %v", err)
	}
}

func TestValidationFollowsItsFile(t *testing.T) {
	t.Parallel()
	ca := filepath.Join(t.TempDir(), "ca.crt")
	filetest.Put(t, ca, "no PEM")
	s := secrets.NewStore([]*resource.Secret{
		{Name: "ca", Validation: &resource.ValidationSecret{CA: resource.DataSource{Filename: ca}, Names: []string{"n"}}},
		{Name: "system", Validation: &resource.ValidationSecret{SystemRoots: true}},
	})
	if _, err := s.Validation("ca"); !errors.Is(err, secrets.ErrNoRoots) {
		t.Errorf("without a certificate: %v", err)
	}
	filetest.Put(t, ca, read(t, redistest.NewPKI(t).CAFile))
	first, err := s.Validation("ca")
	if err != nil || len(first.Names) != 1 {
		t.Fatalf("Validation = %v, %v", first, err)
	}
	filetest.Put(t, ca, "no PEM again")
	if kept, err := s.Validation("ca"); err != nil || kept.Roots != first.Roots {
		t.Errorf("with a broken file: %v, want the old roots", err)
	}
	filetest.Put(t, ca, read(t, redistest.NewPKI(t).CAFile))
	if next, err := s.Validation("ca"); err != nil || next.Roots.Equal(first.Roots) {
		t.Errorf("after the file changed: %v, or still the old roots", err)
	}
	if _, err := s.Validation("system"); err != nil {
		t.Errorf("the system's roots: %v", err)
	}
}

func TestCheckNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	good := []*resource.Secret{
		{Name: "ca", Validation: &resource.ValidationSecret{CA: resource.DataSource{Filename: pki.CAFile}}},
		{Name: "password", Generic: map[string]resource.DataSource{"": {Inline: []byte("x")}}},
	}
	if err := secrets.NewStore(good).Check(); err != nil {
		t.Errorf("good secrets: %v", err)
	}
	missing := resource.DataSource{Filename: filepath.Join(t.TempDir(), "missing")}
	err := secrets.NewStore(append(good,
		&resource.Secret{Name: "gone", Generic: map[string]resource.DataSource{"": missing}},
		&resource.Secret{Name: "cert", Certificate: &resource.CertificateSecret{Chain: missing, Key: missing}},
	)).Check()
	if err == nil || !strings.Contains(err.Error(), `"gone"`) || !strings.Contains(err.Error(), `"cert"`) {
		t.Errorf("Check() = %v, want both secrets named", err)
	}
}
