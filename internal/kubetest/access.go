package kubetest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// As returns the configuration of a user, who may do only what RBAC grants him or one of the groups: the administrator's, impersonating.
func (s *Server) As(user string, groups ...string) *rest.Config {
	config := s.Config()
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups}
	return config
}

// AsServiceAccount returns the configuration of a service account, with a token of its own for the API. The account is made if there is none.
func (s *Server) AsServiceAccount(tb TB, namespace, name string) *rest.Config {
	tb.Helper()
	s.ServiceAccount(tb, namespace, name)
	return s.WithToken(s.token(tb, namespace, name, authenticationv1.TokenRequestSpec{Audiences: []string{issuer}}))
}

// WithToken returns a configuration that authenticates with a bearer token alone.
func (s *Server) WithToken(token string) *rest.Config {
	config := rest.AnonymousClientConfig(s.config)
	config.BearerToken = token
	return config
}

// Kubeconfig writes a configuration as a file for programs, removed when the test ends, and returns its path. A nil configuration is the
// administrator's.
func (s *Server) Kubeconfig(tb TB, config *rest.Config) string {
	tb.Helper()
	if config == nil {
		config = s.config
	}
	file := clientcmdapi.NewConfig()
	file.Clusters["test"] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	file.AuthInfos["test"] = &clientcmdapi.AuthInfo{
		Token:             config.BearerToken,
		Impersonate:       config.Impersonate.UserName,
		ImpersonateGroups: config.Impersonate.Groups,
	}
	file.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "test"}
	file.CurrentContext = "test"
	dir, err := os.MkdirTemp("", "kubeconfig")
	if err != nil {
		tb.Fatalf("making a directory for a kubeconfig: %v", err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "config")
	if err := clientcmd.WriteToFile(*file, path); err != nil {
		tb.Fatalf("writing a kubeconfig: %v", err)
	}
	return path
}

// Kubectl runs kubectl as the administrator, and returns what it prints; a failure fails the test. The input may be nil.
func (s *Server) Kubectl(tb TB, input []byte, args ...string) string {
	tb.Helper()
	cmd := exec.Command(s.binary, append([]string{"kubectl", "--kubeconfig", s.Kubeconfig(tb, nil)}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		tb.Fatalf("kubectl %q: %v: %s", args, err, stderr.Bytes())
	}
	return stdout.String()
}

// RunEndpointSliceController makes EndpointSlices of Services with a selector and of ready Pods, as in a cluster, until the test ends.
func (s *Server) RunEndpointSliceController(tb TB) {
	tb.Helper()
	redistest.Run(tb, s.binary, "endpointslices", s.Kubeconfig(tb, nil))
}

// makeClients makes the administrator's configuration and clients.
func (s *Server) makeClients(host, caFile, token string) {
	s.tb.Helper()
	ca, err := os.ReadFile(caFile)
	if err != nil {
		s.tb.Fatalf("reading the authority of the API server's certificate: %v", err)
	}
	s.config = &rest.Config{
		Host:            host,
		BearerToken:     token,
		TLSClientConfig: rest.TLSClientConfig{CAData: ca},
		QPS:             -1, // no limit
	}
	if s.client, err = kubernetes.NewForConfig(s.config); err != nil {
		s.tb.Fatalf("making a client of the API server: %v", err)
	}
	if s.dynamic, err = dynamic.NewForConfig(s.config); err != nil {
		s.tb.Fatalf("making a dynamic client of the API server: %v", err)
	}
	s.mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(s.client.Discovery()))
}
