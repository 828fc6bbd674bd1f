package mysqlproto_test

import (
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// TestLoginAtAFakeMySQL has the methods that MariaDB does not. The fake server is one that MariaDB's own client logs in at.
func TestLoginAtAFakeMySQL(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	const plain, secure = false, true
	tests := []struct {
		name     string
		plugin   string
		tls      bool
		fetchKey bool
		ownKey   bool
		password string
		want     string // how two clients show their password
	}{
		{"caching_sha2_password over TLS", dbtest.CachingSHA2, secure, false, false, dbtest.Password, "cleartext fast"},
		{"caching_sha2_password with the server's key", dbtest.CachingSHA2, plain, true, false, dbtest.Password, "rsa fast"},
		{"caching_sha2_password with a known key", dbtest.CachingSHA2, plain, false, true, dbtest.Password, "rsa fast"},
		{"caching_sha2_password without a key", dbtest.CachingSHA2, plain, false, false, dbtest.Password, ""},
		{"caching_sha2_password, wrong", dbtest.CachingSHA2, secure, false, false, "wrong", "denied denied"},
		{"caching_sha2_password, empty", dbtest.CachingSHA2, secure, false, false, "", "empty empty"},
		{"sha256_password over TLS", dbtest.SHA256, secure, false, false, dbtest.Password, "cleartext cleartext"},
		{"sha256_password with the server's key", dbtest.SHA256, plain, true, false, dbtest.Password, "rsa rsa"},
		{"sha256_password with a known key", dbtest.SHA256, plain, false, true, dbtest.Password, "rsa rsa"},
		{"sha256_password without a key", dbtest.SHA256, plain, false, false, dbtest.Password, ""},
		{"sha256_password, wrong", dbtest.SHA256, plain, true, false, "wrong", "denied denied"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := dbtest.StartFakeMySQL(t, tt.plugin, pki)
			for range 2 {
				l := login{user: "joe", password: tt.password, database: "d", allow: everyMethod, fetchKey: tt.fetchKey, without: 1 << 24}
				if tt.tls {
					l.tls = pki.ClientConfig()
				}
				if tt.ownKey {
					l.publicKey = server.PublicKey()
				}
				c, err := connect(t, server.Addr(), l)
				switch {
				case tt.want == "":
					if err == nil || !strings.Contains(err.Error(), "refused") {
						t.Fatalf("error %v, want a refusal", err)
					}
				case strings.Contains(tt.want, "denied"), strings.Contains(tt.want, "empty"):
					if err == nil || !strings.Contains(err.Error(), "1045 (28000)") {
						t.Fatalf("error %v, want the server's", err)
					}
				case err != nil:
					t.Fatal(err)
				default:
					if got := c.value("SELECT 1"); got != "SELECT 1" {
						t.Errorf("a query is answered with %q", got)
					}
				}
			}
			if got := strings.Join(server.Logins(), " "); got != tt.want {
				t.Errorf("passwords are shown by %q, want %q", got, tt.want)
			}
		})
	}
}
