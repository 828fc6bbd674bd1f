package election_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/election"
)

func TestOptionsThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*election.Options){
		"the name \"\"":        func(o *election.Options) { o.Election = "" },
		"the name \"a b\"":     func(o *election.Options) { o.Election = "a b" },
		"the name \"a/../b\"":  func(o *election.Options) { o.Election = "a/../b" },
		"the namespace \"-x\"": func(o *election.Options) { o.Namespace = "-x" },
		"no id":                func(o *election.Options) { o.ID = "" },
		"the ttl 1s":           func(o *election.Options) { o.TTL = time.Second },
		"the ttl -1h0m0s":      func(o *election.Options) { o.TTL = -time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := election.Options{Election: "master", Namespace: "shop", ID: "web-0", TTL: 10 * time.Second, Log: slog.New(slog.DiscardHandler)}
			change(&o)
			_, err := election.New(o)
			if !errors.Is(err, election.ErrOptions) || !strings.Contains(err.Error(), name) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestKubeconfigsThatAreRefused(t *testing.T) {
	t.Parallel()
	const good = `
current-context: c
contexts: [{name: c, context: {cluster: k, user: u}}]
clusters: [{name: k, cluster: {server: "https://127.0.0.1:6443"}}]
users: [{name: u, user: {token: secret}}]
`
	for want, text := range map[string]string{
		"":                                    good,
		`there is no context "d"`:             strings.Replace(good, "current-context: c", "current-context: d", 1),
		`there is no cluster "x"`:             strings.Replace(good, "cluster: k,", "cluster: x,", 1),
		`there is no user "x"`:                strings.Replace(good, "user: u}", "user: x}", 1),
		"exec and auth-provider are not":      strings.Replace(good, "token: secret", "exec: {command: aws}", 1),
		"insecure-skip-tls-verify is refused": strings.Replace(good, "server:", "insecure-skip-tls-verify: true, server:", 1),
		"the authority holds no certificate":  strings.Replace(good, "server:", "certificate-authority-data: eHg=, server:", 1),
		"client-key: open":                    strings.Replace(good, "token: secret", "client-certificate-data: eHg=, client-key: missing.key", 1),
		"mapping values are not allowed":      "a: b: c",
		"did not find expected node content":  "{",
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "config")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := election.FromKubeconfig(file)
			if want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, election.ErrKubeconfig) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v", err)
			}
		})
	}
}
