package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/dragoman-mesh/dragoman/internal/goldentest"
	"github.com/dragoman-mesh/dragoman/pkg/controlplane/engine"
)

// TestGolden runs the commands of testdata: the files of each archive are
// written to a folder, "command" holds the arguments, "exit" the exit code, and
// "stdout" and "stderr" what is said. DIR stands for the folder.
func TestGolden(t *testing.T) {
	t.Parallel()
	goldentest.Run(t, "testdata/*.txtar", func(t *testing.T, c *goldentest.Case) {
		dir := t.TempDir()
		for _, f := range c.Files {
			switch f.Name {
			case "command", "exit", "stdout", "stderr":
			default:
				if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		args := append([]string{"controlplane"}, strings.Fields(strings.ReplaceAll(c.Text("command"), "DIR", dir))...)
		var stdout, stderr bytes.Buffer
		code := run(args, &stdout, &stderr)
		c.Compare(t, map[string]string{
			"exit": strconv.Itoa(code) + "\n", "stdout": strings.ReplaceAll(stdout.String(), dir, "DIR"), "stderr": strings.ReplaceAll(stderr.String(), dir, "DIR"),
		})
	})
}

// TestTranslateIsStable: the same documents give the same bytes.
func TestTranslateIsStable(t *testing.T) {
	t.Parallel()
	archive, err := txtar.ParseFile("testdata/translate-shards.txtar")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, f := range archive.Files {
		if filepath.Ext(f.Name) == ".yaml" {
			if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	first := ""
	for range 20 {
		var stdout, stderr bytes.Buffer
		if code := run([]string{"controlplane", "translate", "-f", dir, "--namespace", "shop", "--environment", "prod"}, &stdout, &stderr); code != 0 {
			t.Fatalf("exit code %d: %s", code, stderr.String())
		}
		if first == "" {
			first = stdout.String()
		}
		if diff := cmp.Diff(first, stdout.String()); diff != "" {
			t.Fatalf("another time (-first +now):\n%s", diff)
		}
	}
}

// TestTable is how people see proxies.
func TestTable(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	var out bytes.Buffer
	err := table(&out, []engine.Proxy{
		{
			Identity: "shop/web-0", State: engine.Synced, Version: "9f86d081884c", Remote: "10.0.0.7:40112",
			Since: now.Add(-90 * time.Minute), LastContact: now.Add(-2500 * time.Millisecond),
			Environments: []engine.Environment{{Object: "shop/cache", Environment: "prod"}, {Object: "shop/orders", Environment: "prod"}},
		},
		{
			Identity: "shop/web-1", State: engine.NACKed, Version: "9f86d081884c", Remote: "10.0.0.8:40112",
			Since: now.Add(-time.Second), LastContact: now,
			Environments: []engine.Environment{
				{Object: "shop/cache", Environment: "dev"},
				{Object: "shop/orders", Reason: "NoEnvironment", Message: `there is no environment "qa"`},
			},
			Refusals: []engine.Refusal{{Type: "Listener", Resources: []string{"shop/cache"}, Message: "port 6380 is taken"}},
		},
		{Identity: "bank/teller-0", State: engine.Stale, Since: now, LastContact: now},
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	want := `
PROXY          STATE   ENVIRONMENT  VERSION       LAST CONTACT  CONNECTED  ADDRESS
shop/web-0     synced  prod         9f86d081884c  2s            1h30m0s    10.0.0.7:40112
shop/web-1     nacked  dev          9f86d081884c  0s            1s         10.0.0.8:40112
bank/teller-0  stale   -                          0s            0s         ` + `
shop/web-1: refused Listener shop/cache: port 6380 is taken
shop/web-1: does not get shop/orders (NoEnvironment): there is no environment "qa"
`
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestSettings: a flag is stronger than a variable, and that than the file.
func TestSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bootstrap.yaml")
	if err := os.WriteFile(file, []byte("admin-address: \"off\"\nxds-address: file\nnames: [a, b]\ndrain-timeout: 3s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DRAGOMAN_XDS_ADDRESS", "variable")
	t.Setenv("DRAGOMAN_DRAIN_TIMEOUT", "4s")
	cmd := newRun()
	if err := cmd.ParseFlags([]string{"--config", file, "--drain-timeout", "5s"}); err != nil {
		t.Fatal(err)
	}
	s, err := newSettings(cmd)
	if err != nil {
		t.Fatal(err)
	}
	drain, err := s.Duration("drain-timeout")
	if err != nil {
		t.Fatal(err)
	}
	got := []string{s.Text("admin-address"), s.Text("xds-address"), drain.String(), strings.Join(s.names(), ",")}
	if diff := cmp.Diff([]string{"off", "variable", "5s", "a,b"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
