package election

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Files of a pod's service account.
const accountFolder = "/var/run/secrets/kubernetes.io/serviceaccount"

// API is an API server, and who one is there. It is a small client of its own,
// since the proxy is not to carry Kubernetes' libraries for one kind of object.
type API struct {
	server string // "https://host:port"
	client *http.Client
	token  func() (string, error) // read for each request: files are rotated
}

// ErrNoCluster says that this is no pod of a cluster.
var ErrNoCluster = errors.New("not in a cluster: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; name a kubeconfig file")

// InCluster is the API server of the cluster in which this process runs, as its
// pod's service account.
func InCluster() (*API, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, ErrNoCluster
	}
	ca, err := os.ReadFile(filepath.Join(accountFolder, "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("reading the cluster's authority: %w", err)
	}
	return newAPI("https://"+net.JoinHostPort(host, port), &tls.Config{}, ca, fileToken(filepath.Join(accountFolder, "token")))
}

// kubeconfig is the part of such a file that this client understands.
type kubeconfig struct {
	CurrentContext string `yaml:"current-context"`
	Clusters       []struct {
		Name    string
		Cluster struct {
			Server        string
			CAFile        string `yaml:"certificate-authority"`
			CAData        string `yaml:"certificate-authority-data"`
			TLSServerName string `yaml:"tls-server-name"`
			Insecure      bool   `yaml:"insecure-skip-tls-verify"`
		}
	}
	Users    []kubeUser
	Contexts []struct {
		Name    string
		Context struct{ Cluster, User string }
	}
}

type kubeUser struct {
	Name string
	User struct {
		Token        string
		TokenFile    string    `yaml:"tokenFile"`
		CertFile     string    `yaml:"client-certificate"`
		CertData     string    `yaml:"client-certificate-data"`
		KeyFile      string    `yaml:"client-key"`
		KeyData      string    `yaml:"client-key-data"`
		Exec         yaml.Node `yaml:"exec"`
		AuthProvider yaml.Node `yaml:"auth-provider"`
	}
}

// ErrKubeconfig is what is wrong with a kubeconfig file.
var ErrKubeconfig = errors.New("cannot be used")

// FromKubeconfig is the API server of a file's current context. Tokens and client
// certificates are understood; what would have to run a program is refused.
func FromKubeconfig(file string) (*API, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	var k kubeconfig
	if err := yaml.Unmarshal(data, &k); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", file, ErrKubeconfig, err)
	}
	api, err := k.api(filepath.Dir(file))
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", file, ErrKubeconfig, err)
	}
	return api, nil
}

func (k *kubeconfig) api(folder string) (*API, error) {
	c := slices.IndexFunc(k.Contexts, func(c struct {
		Name    string
		Context struct{ Cluster, User string }
	},
	) bool {
		return c.Name == k.CurrentContext
	})
	if c < 0 {
		return nil, fmt.Errorf("current-context: there is no context %q", k.CurrentContext)
	}
	chosen := k.Contexts[c].Context
	for i := range k.Clusters {
		cluster := &k.Clusters[i].Cluster
		if k.Clusters[i].Name != chosen.Cluster {
			continue
		}
		if cluster.Insecure {
			return nil, errors.New("insecure-skip-tls-verify is refused: name the authority of the API server")
		}
		ca, err := content(folder, cluster.CAFile, cluster.CAData)
		if err != nil {
			return nil, fmt.Errorf("certificate-authority: %w", err)
		}
		config := &tls.Config{ServerName: cluster.TLSServerName}
		token, err := k.user(chosen.User, folder, config)
		if err != nil {
			return nil, err
		}
		return newAPI(strings.TrimSuffix(cluster.Server, "/"), config, ca, token)
	}
	return nil, fmt.Errorf("there is no cluster %q", chosen.Cluster)
}

// user gives the token of a user, and adds his certificate.
func (k *kubeconfig) user(name, folder string, config *tls.Config) (func() (string, error), error) {
	i := slices.IndexFunc(k.Users, func(u kubeUser) bool { return u.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("there is no user %q", name)
	}
	u := &k.Users[i].User
	if !u.Exec.IsZero() || !u.AuthProvider.IsZero() {
		return nil, fmt.Errorf("user %q: exec and auth-provider are not supported: use a token or a client certificate", name)
	}
	if u.CertFile+u.CertData != "" {
		cert, err := content(folder, u.CertFile, u.CertData)
		if err != nil {
			return nil, fmt.Errorf("user %q: client-certificate: %w", name, err)
		}
		key, err := content(folder, u.KeyFile, u.KeyData)
		if err != nil {
			return nil, fmt.Errorf("user %q: client-key: %w", name, err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("user %q: %w", name, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	if u.TokenFile != "" {
		return fileToken(beside(folder, u.TokenFile)), nil
	}
	token := u.Token
	return func() (string, error) { return token, nil }, nil
}

// content is what a file or base64 text holds; nil if neither is given.
func content(folder, file, data string) ([]byte, error) {
	if data != "" {
		return base64.StdEncoding.DecodeString(data)
	}
	if file == "" {
		return nil, nil
	}
	return os.ReadFile(beside(folder, file))
}

// beside makes a path relative to the kubeconfig's folder.
func beside(folder, file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(folder, file)
}

func fileToken(file string) func() (string, error) {
	return func() (string, error) {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("reading the token: %w", err)
		}
		return strings.TrimSpace(string(data)), nil
	}
}

// newAPI makes a client that trusts an authority (PEM; none: those of the
// system).
func newAPI(server string, config *tls.Config, ca []byte, token func() (string, error)) (*API, error) {
	config.MinVersion = cmp.Or(config.MinVersion, tls.VersionTLS12)
	if len(ca) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(ca) {
			return nil, errors.New("the authority holds no certificate (PEM)")
		}
	}
	return &API{server: server, token: token, client: &http.Client{Transport: &http.Transport{
		TLSClientConfig: config, Proxy: http.ProxyFromEnvironment, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: 5 * time.Second,
	}}}, nil
}
