package kubetest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

const (
	// startLimit bounds the API server's start. It takes 3 s on two idle cores, and much more where every package's tests run at once.
	startLimit = 2 * time.Minute
	// endLimit bounds the end of processes that were killed.
	endLimit = 10 * time.Second
	// callLimit bounds one call of the API.
	callLimit = 30 * time.Second
	// pollInterval is short against anything that the API server does in the background.
	pollInterval = 20 * time.Millisecond
	// issuer signs the tokens of service accounts, and is the audience of tokens for the API itself.
	issuer = "https://kubernetes.default.svc.cluster.local"
)

// Server is a kube-apiserver with its etcd. Its methods may be called from any goroutine; those that change whether it runs, from one at a time.
type Server struct {
	// Read-only after construction.
	tb      TB // of the server's life, not of one test
	port    int
	args    []string
	binary  string
	dir     string
	key     *ecdsa.PrivateKey // signs the tokens of service accounts
	config  *rest.Config
	client  *kubernetes.Clientset
	dynamic *dynamic.DynamicClient
	mapper  *restmapper.DeferredDiscoveryRESTMapper

	mu  sync.Mutex // guards api
	api *redistest.Process
}

// Start runs an API server of a test's own until the test ends, for tests that stop it or that see what others do; flags are added to those
// of kube-apiserver. It returns when the server is ready.
func Start(tb TB, flags ...string) *Server {
	tb.Helper()
	s := &Server{tb: tb, binary: Binary(tb), port: redistest.Port(tb)}
	var err error
	if s.dir, err = os.MkdirTemp("", "api"); err != nil {
		tb.Fatalf("making a directory for an API server: %v", err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(s.dir) })
	pki := redistest.NewPKI(tb)
	certFile, keyFile := pki.Issue("kube-apiserver", "localhost", "127.0.0.1", "::1", "kubernetes.default.svc")
	s.makeKey()
	token := s.makeAdmin()
	s.args = append([]string{
		"kube-apiserver",
		"--etcd-servers=" + s.startEtcd(),
		"--bind-address=127.0.0.1",
		"--secure-port=" + strconv.Itoa(s.port),
		"--advertise-address=192.0.2.1", // told to nobody: nothing reconciles the Service of the API itself
		"--endpoint-reconciler-type=none",
		"--cert-dir=" + s.dir,
		"--tls-cert-file=" + certFile,
		"--tls-private-key-file=" + keyFile,
		"--client-ca-file=" + pki.CAFile,
		"--token-auth-file=" + filepath.Join(s.dir, "tokens.csv"),
		"--authorization-mode=RBAC",
		"--service-cluster-ip-range=10.96.0.0/12,fd00:96::/108",
		"--service-account-issuer=" + issuer,
		"--service-account-key-file=" + s.keyFile(),
		"--service-account-signing-key-file=" + s.keyFile(),
		"--api-audiences=" + issuer,
		"--disable-admission-plugins=ServiceAccount", // no controller makes the account "default"
		"--allow-privileged=true",
		"--enable-aggregator-routing=true", // webhooks by the endpoints of their Services: nothing routes cluster IPs here
		"--profiling=false",
	}, flags...)
	s.makeClients("https://127.0.0.1:"+strconv.Itoa(s.port), pki.CAFile, token)
	s.run(tb)
	return s
}

// Config is an administrator's configuration of clients, without a limit on the rate of calls. It is the caller's own copy.
func (s *Server) Config() *rest.Config { return rest.CopyConfig(s.config) }

// Client is an administrator's client.
func (s *Server) Client() kubernetes.Interface { return s.client }

// Dynamic is an administrator's client for kinds that have no Go type.
func (s *Server) Dynamic() dynamic.Interface { return s.dynamic }

// URL is the address of the API server, "https://127.0.0.1:port". It stays the same over restarts.
func (s *Server) URL() string { return s.config.Host }

// Output is what kube-apiserver logged since its latest start.
func (s *Server) Output() []byte { return s.process().Output() }

// Pause stops the process of the API server with SIGSTOP: connections stay open and nothing answers, as when the network swallows packets.
func (s *Server) Pause() { s.process().Freeze() }

// Resume lets a paused API server go on.
func (s *Server) Resume() { s.process().Thaw() }

// Stop kills the API server: connections break, and new ones are refused. Its data stays.
func (s *Server) Stop() { s.process().Kill() }

// Restart starts the API server again at its address with its data, after killing it if it runs, and returns when it is ready.
func (s *Server) Restart(tb TB) {
	tb.Helper()
	s.Stop()
	s.run(tb)
}

// process is the latest start of kube-apiserver.
func (s *Server) process() *redistest.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.api
}

// run starts kube-apiserver and waits until it is ready.
func (s *Server) run(tb TB) {
	tb.Helper()
	api := redistest.Run(s.tb, s.binary, s.args...)
	s.mu.Lock()
	s.api = api
	s.mu.Unlock()
	if err := s.awaitReady(api); err != nil {
		tb.Fatalf("waiting for kube-apiserver: %v; it printed:\n%s", err, tail(api.Output()))
	}
}

var errEnded = errors.New("it has ended")

// awaitReady polls /readyz, which is refused before the roles of RBAC are there.
func (s *Server) awaitReady(api *redistest.Process) error {
	var last error
	err := poll(startLimit, func(ctx context.Context) (bool, error) {
		select {
		case <-api.Done():
			return false, errEnded
		default:
		}
		_, last = s.client.RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return last == nil, nil
	})
	if err != nil {
		return errors.Join(err, last)
	}
	return nil
}

// startEtcd runs etcd and returns its address. It is not waited for: kube-apiserver does that.
func (s *Server) startEtcd() string {
	s.tb.Helper()
	client := "http://127.0.0.1:" + strconv.Itoa(redistest.Port(s.tb))
	redistest.Run(s.tb, s.binary, "etcd",
		"--data-dir="+filepath.Join(s.dir, "etcd"),
		"--listen-client-urls="+client,
		"--advertise-client-urls="+client,
		"--listen-peer-urls=http://127.0.0.1:0", // one member has no peers
		"--log-level=warn",
		"--unsafe-no-fsync",
	)
	return client
}

// makeAdmin writes the file of static tokens with one in it, a member of the group that may do everything.
func (s *Server) makeAdmin() string {
	s.tb.Helper()
	token := rand.Text()
	line := token + `,admin,admin,"system:masters"` + "\n"
	if err := os.WriteFile(filepath.Join(s.dir, "tokens.csv"), []byte(line), 0o600); err != nil {
		s.tb.Fatalf("writing the administrator's token: %v", err)
	}
	return token
}

// logOnFailure shows what the API server logs from now on, without info, when the test has failed.
func (s *Server) logOnFailure(tb TB) {
	before := len(s.Output())
	tb.Cleanup(func() {
		if f, ok := tb.(interface{ Failed() bool }); ok && f.Failed() {
			tb.Logf("warnings and errors of kube-apiserver:\n%s", tail(withoutInfo(s.Output()[before:])))
		}
	})
}

// call bounds one call of the API.
func call() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), callLimit)
}

// poll calls done until it returns true or an error.
func poll(limit time.Duration, done func(ctx context.Context) (bool, error)) error {
	return wait.PollUntilContextTimeout(context.Background(), pollInterval, limit, true, done)
}

// withoutInfo leaves out the lines of a log that begin with I and a digit, those of level info.
func withoutInfo(log []byte) []byte {
	var kept []byte
	for line := range bytes.Lines(log) {
		if len(line) < 2 || line[0] != 'I' || line[1] < '0' || line[1] > '9' {
			kept = append(kept, line...)
		}
	}
	return kept
}

// tail is as much of a log as helps.
func tail(log []byte) []byte {
	const most = 8 << 10
	if len(log) > most {
		log = log[len(log)-most:]
	}
	return log
}

var errNoModule = errors.New("no go.mod above the working directory")

// Binary returns the path of bin/kubeapi, kube-apiserver and kubectl in one program, and fails the test when it has not been built.
func Binary(tb TB) string {
	tb.Helper()
	root, err := moduleRoot()
	if err != nil {
		tb.Fatalf("looking for bin/kubeapi: %v", err)
	}
	path, err := binaryIn(root)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	return path
}

func binaryIn(root string) (string, error) {
	path := filepath.Join(root, "bin", "kubeapi")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("this test needs a Kubernetes API server: build it with `make kubeapi` (`make test` does that, too): %w", err)
	}
	return path, nil
}

// moduleRoot goes up from the working directory, which is the tested package's.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errNoModule
		}
		dir = parent
	}
}
