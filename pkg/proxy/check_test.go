package proxy_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/exit"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/proxy"
)

// TestCheckReadsNamedFiles: what a document names and is not here is a warning with
// file, line and field; what is here and no good is an error. run takes the same for
// what it can do without, and for what it cannot.
func TestCheckReadsNamedFiles(t *testing.T) {
	t.Parallel()
	pki, other := redistest.NewPKI(t), redistest.NewPKI(t)
	dir := t.TempDir()
	here := filepath.Join(dir, "here")
	if err := os.WriteFile(here, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	const later = " (run begins without it, and apps wait or get errors until it is there)"
	const needed = " (run does not begin without it)"
	for name, tt := range map[string]struct {
		protocol, listen, environment string
		warning, wrong                string // without file and line
		begins                        bool
	}{
		"all there": {protocol: "redis", environment: "tls: {caFile: " + pki.CAFile + "}, credentials: {passwordFile: HERE}", begins: true},
		"password of a database": {
			protocol: "postgres", environment: "credentials: {username: u, passwordFile: GONE}", begins: true,
			warning: "spec.environments.dev.credentials.passwordFile: GONE: no such file or directory" + later,
		},
		"password of Redis": {
			protocol: "redis", environment: "credentials: {passwordFile: GONE}", begins: true,
			warning: "spec.environments.dev.credentials.passwordFile: GONE: no such file or directory" + later,
		},
		"user of a database": {
			protocol: "mysql", environment: "credentials: {usernameFile: GONE, passwordFile: HERE}", begins: true,
			warning: "spec.environments.dev.credentials.usernameFile: GONE: no such file or directory" + later,
		},
		"variable": {
			protocol: "mysql", environment: "credentials: {username: u, passwordEnv: NONEXISTENT_PASSWORD}",
			warning: "spec.environments.dev.credentials.passwordEnv: environment variable is not set: NONEXISTENT_PASSWORD" + needed,
		},
		"authorities": {
			protocol: "postgres", environment: "credentials: {username: u}, tls: {mode: verify-full, caFile: GONE}",
			warning: "spec.environments.dev.tls.caFile: GONE: no such file or directory" + needed,
		},
		"authorities that are none": {
			protocol: "postgres", environment: "credentials: {username: u}, tls: {mode: verify-full, caFile: HERE}",
			wrong: "spec.environments.dev.tls.caFile: no certificate in the list of trusted ones (in HERE)",
		},
		"key": {
			protocol: "redis", listen: ", tls: {certFile: " + pki.ServerCertFile + ", keyFile: GONE}",
			warning: "spec.listen.tls.keyFile: GONE: no such file or directory" + needed,
		},
		"key of another certificate": {
			protocol: "redis", listen: ", tls: {certFile: " + pki.ServerCertFile + ", keyFile: " + other.ServerKeyFile + "}",
			wrong: "spec.listen.tls.certFile: tls: private key does not match public key (in " + pki.ServerCertFile + ")",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			words := strings.NewReplacer("GONE", filepath.Join(dir, "gone"), "HERE", here)
			document := words.Replace(fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: a}
spec:
  protocol: %s
  listen: {port: %d%s}
  environments:
    dev: {address: "127.0.0.1:1", %s}
  defaultEnvironment: dev
`, tt.protocol, redistest.Port(t), tt.listen, tt.environment))
			file := filepath.Join(t.TempDir(), "mesh.yaml")
			put(t, file, document)
			for _, facts := range []mesh.NodeFacts{{}, {Flag: "dev"}} {
				report, err := proxy.Check(proxy.NewFiles([]string{file}), facts)
				got := ""
				for _, w := range report.Warnings {
					got += w.Error()
				}
				wantText(t, "the warning", file, words.Replace(tt.warning), got)
				if got = ""; err != nil {
					got = err.Error()
				}
				wantText(t, "the error", file, words.Replace(tt.wrong), got)
			}
			if tt.begins {
				r := launch(t, document)
				r.eventually("the listener", func() error { return listens(r, "default/a") })
				return
			}
			r := launch(t, document)
			<-r.done
			want := strings.TrimSuffix(words.Replace(tt.warning+tt.wrong), needed)
			if code := exit.Code(r.err); code != exit.CodeUsage || !strings.Contains(r.err.Error(), "mesh.yaml:") || !strings.Contains(r.err.Error(), want) {
				t.Errorf("run: exit code %d, %v; want one with %s", code, r.err, want)
			}
		})
	}
}

// TestCheckDescriptors: descriptors of gRPC that are not here are a warning like other
// files, and those that are none an error, each with file, line and field.
func TestCheckDescriptors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	here, gone := filepath.Join(dir, "here.pb"), filepath.Join(dir, "gone.pb")
	put(t, here, "no descriptors")
	for name, tt := range map[string]struct{ file, warning, wrong string }{
		"gone": {gone, "spec.api.grpc.descriptors.file: " + gone + ": no such file or directory (run does not begin without it)", ""},
		"none": {here, "", "spec.api.grpc.descriptors.file: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "mesh.yaml")
			put(t, file, `apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: stock}
spec:
  api:
    listen: {port: 8081}
    upstream: {address: "127.0.0.1:8080"}
    grpc: {direction: FromJSON, descriptors: {file: `+tt.file+`}}
`)
			report, err := proxy.Check(proxy.NewFiles([]string{file}), mesh.NodeFacts{})
			got := ""
			for _, w := range report.Warnings {
				got += w.Error()
			}
			wantText(t, "the warning", file, tt.warning, got)
			if tt.wrong == "" && err != nil || tt.wrong != "" && (err == nil || !strings.HasPrefix(err.Error(), file+":8:") || !strings.Contains(err.Error(), tt.wrong)) {
				t.Errorf("the error: %v", err)
			}
		})
	}
}

func listens(r *running, name string) error {
	if text := r.get("/listeners"); !strings.Contains(text, name) {
		return fmt.Errorf("%s", text)
	}
	return nil
}

// wantText compares what is behind a file's name, line and column.
func wantText(t *testing.T, what, file, want, got string) {
	t.Helper()
	if rest, ok := strings.CutPrefix(got, file+":"); ok {
		_, got, _ = strings.Cut(rest, ": ")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// TestRedisBeforeItsPassword: a proxy whose Redis has a password that is not there
// yet listens, says what is missing, and goes on by itself.
func TestRedisBeforeItsPassword(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t, redistest.WithPassword("s3cret"))
	port, password := redistest.Port(t), filepath.Join(t.TempDir(), "password")
	r := launch(t, ambassador("cache", port, fmt.Sprintf("test: {address: %q, credentials: {passwordFile: %s}}", node.Addr(), password), byDefault))
	r.eventually("the listener", func() error { return listens(r, "default/cache") })
	client := redistest.Dial(t, local(port))
	if got := client.Do("GET", "k"); !strings.Contains(got, "no credentials") || !strings.Contains(got, password+": no such file or directory") {
		t.Errorf("the app gets %q", got)
	}
	if ok, why := r.Ready(); ok || !strings.Contains(why, password) {
		t.Errorf("ready: %v, %s", ok, why)
	}
	if !strings.Contains(r.log.String(), "waiting for credentials") {
		t.Errorf("the log says nothing:\n%s", r.log)
	}
	put(t, password, "s3cret\n")
	r.eventually("an answer", func() error {
		if got := client.Do("SET", "k", "v"); got != "+OK\r\n" {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
	if ok, why := r.Ready(); !ok {
		t.Errorf("not ready: %s", why)
	}
}

// TestLogSaysWhyEjected: the log has the server's own reason, not only that there was no
// connection.
func TestLogSaysWhyEjected(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t, redistest.WithPassword("s3cret"))
	port, password := redistest.Port(t), filepath.Join(t.TempDir(), "password")
	put(t, password, "another")
	r := start(t, ambassador("cache", port, fmt.Sprintf("test: {address: %q, credentials: {passwordFile: %s}}", node.Addr(), password), byDefault))
	redistest.Dial(t, local(port)).Do("GET", "k")
	r.eventually("the reason", func() error {
		if log := r.log.String(); !strings.Contains(log, "endpoint stays ejected") || !strings.Contains(log, "WRONGPASS") {
			return errors.New(log)
		}
		return nil
	})
}

// TestReloadBeforeItsPassword: a change that names a file which is not there yet leaves
// all as it is, and is taken when the file comes.
func TestReloadBeforeItsPassword(t *testing.T) {
	t.Parallel()
	old, node := redistest.Server(t), redistest.Server(t, redistest.WithPassword("s3cret"))
	port, password := redistest.Port(t), filepath.Join(t.TempDir(), "password")
	r := start(t, ambassador("cache", port, one(old.Addr()), byDefault))
	redistest.Dial(t, local(port)).Do("SET", "where", "old")
	r.write(ambassador("cache", port, fmt.Sprintf("test: {address: %q, credentials: {passwordFile: %s}}", node.Addr(), password), byDefault))
	r.shows("/metrics", "dragoman_config_last_reload_successful 0")
	if got := redistest.Dial(t, local(port)).Do("GET", "where"); got != bulk("old") {
		t.Errorf("meanwhile: %q", got)
	}
	put(t, password, "s3cret\n")
	r.shows("/metrics", "dragoman_config_last_reload_successful 1")
	r.eventually("the new server to be used", func() error {
		if got := redistest.Dial(t, local(port)).Do("SET", "where", "new"); got != "+OK\r\n" || node.Do("GET", "where") != bulk("new") {
			return errors.New(got)
		}
		return nil
	})
}

// TestCheckMetricsFiles: files of other exporters that are not here are a warning, and
// all that is wrong with those that are is an error, with its line in the file.
func TestCheckMetricsFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mapping, module, gone := filepath.Join(dir, "mapping.yml"), filepath.Join(dir, "json.yml"), filepath.Join(dir, "gone.yml")
	put(t, mapping, "mappings:\n- match: a.*\n  name: a\n  nam: a\n- match: 'b.**'\n  name: b\n")
	put(t, module, "modules:\n  default:\n    metrics:\n    - {name: a, path: '{.a}'}\n    - {name: b, path: '{.[', help: '?'}\n    - name: c\n      type: value\n")
	for name, tt := range map[string]struct {
		source        string
		warning, want []string // parts of each
	}{
		"a mapping": {
			source: "statsd: {udp: 9125, mappingFile: " + mapping + "}",
			want:   []string{"sources[0].statsd.mappingFile: " + mapping + ":4: mappings[0].nam: ", mapping + ":5: mappings[1].match: "},
		},
		"Graphite's mapping": {source: "graphite: {tcp: 2003, mappingFile: " + mapping + "}", want: []string{"sources[0].graphite.mappingFile: " + mapping + ":4: mappings[0].nam: ", mapping + ":5: "}},
		"no mapping":         {source: "statsd: {udp: 9125, mappingFile: " + gone + "}", warning: []string{"sources[0].statsd.mappingFile: " + gone + ": no such file or directory (run does not begin without it)"}},
		"modules": {
			source: "json: {uri: \"http://127.0.0.1:1/\", configFile: " + module + "}",
			want:   []string{"sources[0].json.configFile: " + module + ": line 6: modules.default.metrics[2] (\"c\"): path: is missing"},
		},
		"no modules": {source: "json: {uri: \"http://127.0.0.1:1/\", configFile: " + gone + "}", warning: []string{"sources[0].json.configFile: " + gone + ": no such file"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "mesh.yaml")
			put(t, file, `apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: stock}
spec:
  metrics:
    listen: {port: 9113}
    sources:
    - name: app
      `+tt.source+"\n")
			report, err := proxy.Check(proxy.NewFiles([]string{file}), mesh.NodeFacts{})
			wantParts(t, "warnings", tt.warning, report.Warnings)
			var errs []error
			if joined, ok := err.(interface{ Unwrap() []error }); ok {
				errs = joined.Unwrap()
			}
			wantParts(t, "errors", tt.want, errs)
			for _, one := range append(errs, report.Warnings...) {
				if !strings.HasPrefix(one.Error(), file+":9:") {
					t.Errorf("the place of %v", one)
				}
			}
		})
	}
	warned := filepath.Join(dir, "warned.yml")
	put(t, warned, "modules:\n  good:\n    metrics:\n    - {name: b, path: '{.['}\n")
	file := filepath.Join(t.TempDir(), "mesh.yaml")
	document := "{apiVersion: mesh.dragoman.io/v1alpha1, kind: Adapter, metadata: {name: stock}, spec: {metrics: {listen: {port: 9113}, sources: [" +
		"{name: app, json: {uri: \"http://127.0.0.1:1/\", configFile: " + warned + ", module: %s}}]}}}"
	put(t, file, fmt.Sprintf(document, "good"))
	report, err := proxy.Check(proxy.NewFiles([]string{file}), mesh.NodeFacts{})
	wantParts(t, "warnings", []string{"line 4: modules.good.metrics[0] (\"b\") gives nothing: "}, report.Warnings)
	if err != nil {
		t.Error(err)
	}
	put(t, file, fmt.Sprintf(document, "other"))
	if _, err = proxy.Check(proxy.NewFiles([]string{file}), mesh.NodeFacts{}); err == nil || !strings.Contains(err.Error(), `there is no module "other"`) {
		t.Errorf("a module that is not there: %v", err)
	}
}

// wantParts compares errors by a part of each.
func wantParts(t *testing.T, what string, want []string, got []error) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: got %q, want %q", what, got, want)
	}
	for i, part := range want {
		if !strings.Contains(got[i].Error(), part) {
			t.Errorf("%s: %q is not in %q", what, part, got[i])
		}
	}
}
