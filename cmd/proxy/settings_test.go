package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// TestStrength sets the environment in three places: the strongest wins.
func TestStrength(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		env  []string
		args []string
		want string
	}{
		{"flag", []string{"DRAGOMAN_ENVIRONMENT=dev"}, []string{"--environment", "prod"}, `environment":"prod","environmentSource":"--environment"`},
		{"variable", []string{"DRAGOMAN_ENVIRONMENT=prod"}, nil, `environment":"prod","environmentSource":"DRAGOMAN_ENVIRONMENT"`},
		{"file", nil, nil, `environment":"dev"`},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			boot := write(t, "boot.yaml", "environment: dev\nlog-level: debug\nadmin-address: \"off\"\n")
			file := write(t, "mesh.yaml", document(redistest.Port(t), "127.0.0.1:1"))
			env := append(tc.env, "DRAGOMAN_CONFIG="+boot, "DRAGOMAN_FILE="+file)
			p := begin(t, env, append([]string{"run"}, tc.args...)...)
			p.prints(regexp.QuoteMeta(tc.want))
			p.signal(syscall.SIGINT)
			if code := p.end(); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// TestAdminServerBehindNoProxy: HTTP_PROXY is for the world, not for a program's own admin
// server, also where that is not on loopback.
func TestAdminServerBehindNoProxy(t *testing.T) {
	t.Parallel()
	admin := "0.0.0.0:" + strconv.Itoa(redistest.Port(t))
	p := begin(t, nil, "run", "-f", write(t, "mesh.yaml", document(redistest.Port(t), "127.0.0.1:1")), "--environment", "dev", "--admin-address", admin)
	p.prints(`environment":"dev"`)
	for _, command := range []string{"wait", "status"} {
		code, out, errs := finish(t, []string{"HTTP_PROXY=http://127.0.0.1:1", "http_proxy=http://127.0.0.1:1"}, command, "--admin-address", admin)
		if code != 0 {
			t.Errorf("%s: exit code %d\n%s%s", command, code, out, errs)
		}
	}
	p.signal(syscall.SIGINT)
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestAskedWithItsBootstrapFile: who asks a proxy finds it by the file that the proxy has,
// whatever else is in there; DRAGOMAN_CONFIG is set for both in a container.
func TestAskedWithItsBootstrapFile(t *testing.T) {
	t.Parallel()
	boot := write(t, "boot.yaml", fmt.Sprintf("environment: dev\ndrain-timeout: 1s\nadmin-address: 127.0.0.1:%d\n", redistest.Port(t)))
	p := begin(t, nil, "run", "-f", write(t, "mesh.yaml", document(redistest.Port(t), "127.0.0.1:1")), "--config", boot)
	p.prints(`environment":"dev"`)
	for _, args := range [][]string{{"wait"}, {"status"}, {"status", "--config", boot}} {
		env := []string{"DRAGOMAN_CONFIG=" + boot}
		if len(args) > 1 {
			env = nil
		}
		if code, out, errs := finish(t, env, args...); code != 0 {
			t.Errorf("%s: exit code %d\n%s%s", args, code, out, errs)
		}
	}
	p.signal(syscall.SIGINT)
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestTypesOfSettings: a variable, or a key of the bootstrap file, that does not have the
// type of its flag is refused, not taken for 0.
func TestTypesOfSettings(t *testing.T) {
	t.Parallel()
	file := write(t, "mesh.yaml", document(redistest.Port(t), "127.0.0.1:1"))
	run := []string{"run", "-f", file, "--environment", "dev", "--admin-address", "off"}
	boot := write(t, "boot.yaml", "loops: two\n")
	cases := []struct {
		name, variable string
		args           []string
		code           int
		want           string
	}{
		{"number in a variable", "DRAGOMAN_LOOPS=two", run, 64, `DRAGOMAN_LOOPS "two": want a whole number`},
		{"number in a file", "", append(slices.Clone(run), "--config", boot), 64, boot + `: loops "two": want a whole number`},
		{"switch in a variable", "DRAGOMAN_PRINT_CONFIG=yes", []string{"demo"}, 64, `DRAGOMAN_PRINT_CONFIG "yes": want true or false`},
		{"time in a variable", "DRAGOMAN_TIMEOUT=soon", []string{"wait"}, 64, `--timeout "soon": want a duration`},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			code, _, errs := finish(t, []string{tc.variable}, tc.args...)
			if code != tc.code || !strings.Contains(errs, tc.want) {
				t.Errorf("exit code %d, want %d, with %q in\n%s", code, tc.code, tc.want, errs)
			}
		})
	}
}

// A slip in a variable's name chooses no environment, which the log tells; what
// Kubernetes sets for Services that are called so is none.
func TestMisspeltVariable(t *testing.T) {
	t.Parallel()
	file := write(t, "mesh.yaml", document(redistest.Port(t), "127.0.0.1:1"))
	p := begin(t, []string{"DRAGOMAN_ENVIRONMNT=prod", "DRAGOMAN_FILE_PORT=1"}, "run", "-f", file, "--environment", "dev", "--admin-address", "off")
	p.prints(`environment":"dev"`)
	p.signal(syscall.SIGINT)
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	var hints []string
	for _, m := range regexp.MustCompile(`"variable":"(\w+)","hint":"did you mean (\w+)\?"`).FindAllStringSubmatch(p.text(), -1) {
		hints = append(hints, m[1]+": "+m[2])
	}
	if want := []string{"DRAGOMAN_ENVIRONMNT: DRAGOMAN_ENVIRONMENT"}; !slices.Equal(hints, want) {
		t.Errorf("hints %q, want %q", hints, want)
	}
}
