package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestJSONExporterChecksItsFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good.yml", "modules: {default: {metrics: [{name: a, path: '{.a}', epochTimestamp: '{.t}'}]}}")
	bad := write("bad.yml", "modules: {default: {metrics: [{name: a, path: '{.a}', type: table}]}}")
	oauth := write("oauth.yml", "modules: {default: {http_client_config: {oauth2: {client_id: x}}}}")
	tests := []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--config.file=" + good, "--config.check"}, 0, "epochTimestamp not found"},
		{[]string{"--config.file", good, "--no-config.check", "--config.check"}, 0, "Loaded config file"},
		{[]string{"--config.file=" + written(t, "modules: {default: {metrics: [{name: a, path: '{.a}'}]}}"), "--config.check"}, 0, "Loaded config file"},
		{[]string{"--config.file=" + bad, "--config.check"}, 64, `modules.default.metrics[0] ("a"): type: unknown metric type "table"; use value or object`},
		{[]string{"--config.file=" + oauth}, 64, "http_client_config.oauth2: is not supported"},
		{[]string{"--config.file=" + filepath.Join(dir, "missing.yml")}, 64, "no such file"},
		{[]string{"--version"}, 0, "json_exporter, version 0.7.0"},
		{[]string{"-h"}, 0, "--config.file"},
		{[]string{"--no-such-flag"}, 64, "unknown flag"},
		{[]string{"rest"}, 64, `unexpected "rest"`},
		{[]string{"--web.config.file=x"}, 64, "--web.config.file: TLS and authentication"},
		{[]string{"--web.telemetry-path=probe"}, 64, "must begin with a slash"},
		{[]string{"--web.telemetry-path=/probe"}, 64, "/probe is another page"},
		{[]string{"--web.telemetry-path=/a b"}, 64, "must be a plain path"},
		{[]string{"--log.level=loud", "--config.file=" + good}, 64, "--log.level"},
	}
	for _, tt := range tests {
		var out bytes.Buffer
		code := run(append([]string{"proxy", "json-exporter"}, tt.args...), &out, &out)
		if code != tt.code || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%v: exit code %d: %s", tt.args, code, out.String())
		}
	}
}
