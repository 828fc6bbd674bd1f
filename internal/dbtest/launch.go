package dbtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// TB is redistest's.
type TB = redistest.TB

// startLimit bounds a server's start, and each program that helps with it. They take a second or less; a machine that runs every package's
// tests at once under -race needs more.
const startLimit = 60 * time.Second

// account is whom a server runs as.
type account struct {
	name     string // empty for the user of the test itself
	uid, gid int
	// seen is the uid and the gid that programs see as their own, if not those of the account: in a user namespace where nobody but root is
	// there, servers would take themselves for root.
	seen string
}

// accountFor returns the given user where the test runs as root, and the test's own otherwise.
func accountFor(tb TB, name string) account {
	tb.Helper()
	if os.Getuid() != 0 {
		return account{uid: os.Getuid(), gid: os.Getgid()}
	}
	u, err := user.Lookup(name)
	if err != nil {
		tb.Fatalf("database servers refuse to run as root, and there is no user %q (run hack/install-test-servers.sh): %v", name, err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		tb.Fatalf("uid of %s: %v", name, err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		tb.Fatalf("gid of %s: %v", name, err)
	}
	if !mapped("/proc/self/uid_map", uid) {
		return account{gid: os.Getgid(), seen: u.Uid + ":" + u.Gid}
	}
	return account{name: name, uid: uid, gid: gid}
}

// mapped tells whether there is such a user in the user namespace: lines of the file are the first id within, the first outside, and their
// number.
func mapped(file string, id int) bool {
	text, err := os.ReadFile(file)
	if err != nil {
		return true // a kernel without user namespaces
	}
	for line := range strings.Lines(string(text)) {
		var first, outside, n int
		if _, err := fmt.Sscan(line, &first, &outside, &n); err == nil && id >= first && id-first < n {
			return true
		}
	}
	return false
}

// command returns how to run a program as the account. The program dies with the test binary.
func (a account) command(bin string, args ...string) (name string, all []string) {
	if uid, gid, ok := strings.Cut(a.seen, ":"); ok {
		return "unshare", append([]string{"--user", "--map-user", uid, "--map-group", gid, "--", "setpriv", "--pdeathsig", "KILL", "--", bin}, args...)
	}
	if a.name == "" {
		return bin, args
	}
	drop := []string{"--reuid", a.name, "--regid", strconv.Itoa(a.gid), "--init-groups", "--pdeathsig", "KILL", "--", bin}
	return "setpriv", append(drop, args...)
}

// run runs a program to its end as the account and returns what it printed.
func (a account) run(stdin, bin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	name, all := a.command(bin, args...)
	cmd := exec.CommandContext(ctx, name, all...)
	cmd.Stdin, cmd.Dir = strings.NewReader(stdin), "/"
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "HOME=/nonexistent")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("running %s: %w; it printed:\n%s", filepath.Base(bin), err, out)
	}
	return string(out), nil
}

// mkdir makes a directory of the account's that is removed when the test ends. Its path is short: unix sockets lie in it.
func (a account) mkdir(tb TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "db")
	if err != nil {
		tb.Fatalf("making a directory for a database: %v", err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chown(dir, a.uid, a.gid); err != nil {
		tb.Fatalf("giving a directory to %s: %v", a.name, err)
	}
	return dir
}

// write makes a file that the account alone can read.
func (a account) write(path string, content []byte) error {
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return err
	}
	return os.Chown(path, a.uid, a.gid)
}

// template returns a directory that build has filled, now or in an earlier test: its name is made of what it depends on.
func (a account) template(tb TB, key string, build func(dir string) error) string {
	tb.Helper()
	final := filepath.Join(os.TempDir(), fmt.Sprintf("dragoman-dbtest-%s-%d", key, a.uid))
	if a.owns(final) {
		return final
	}
	dir, err := os.MkdirTemp("", "dbtemplate")
	if err != nil {
		tb.Fatalf("making a directory for a template: %v", err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chown(dir, a.uid, a.gid); err != nil {
		tb.Fatalf("giving a directory to %s: %v", a.name, err)
	}
	if err := build(filepath.Join(dir, "data")); err != nil {
		tb.Fatalf("making a template of a database: %v", err)
	}
	// Another test may have been faster: then its directory is there, and as good.
	if err := os.Rename(filepath.Join(dir, "data"), final); err != nil && !a.owns(final) {
		tb.Fatalf("keeping the template of a database: %v", err)
	}
	return final
}

// owns reports whether a directory is there and belongs to the account: in a directory that all may write to, it could be anybody's.
func (a account) owns(dir string) bool {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == a.uid
}

// newest returns the path of a program in the directory of the newest version, as Debian lays out what may be installed side by side.
func newest(tb TB, pattern, install string) string {
	tb.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) == 0 {
		tb.Fatalf("this test needs %s: install it (Debian: apt-get install %s; or run hack/install-test-servers.sh)", pattern, install)
		return ""
	}
	version := func(path string) int {
		for part := range strings.SplitSeq(path, "/") {
			if n, err := strconv.Atoi(part); err == nil {
				return n
			}
		}
		return 0
	}
	sort.Slice(found, func(i, j int) bool { return version(found[i]) < version(found[j]) })
	return found[len(found)-1]
}
