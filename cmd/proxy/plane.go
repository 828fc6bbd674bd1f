package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/spf13/pflag"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/dragoman-mesh/dragoman/cmd/internal/command"
	"github.com/dragoman-mesh/dragoman/pkg/exit"
	"github.com/dragoman-mesh/dragoman/pkg/xds/client"
)

// Where a pod finds what it needs to speak to the control plane: one projected
// volume with a token of the service account and the authority's certificate.
const (
	podCA    = "/var/run/secrets/dragoman/ca.crt"
	podToken = "/var/run/secrets/dragoman/token" //nolint:gosec // a path
)

// cacheFile is the name of the last accepted set within --state-dir.
const cacheFile = "last-accepted.xds"

// planeFlags are those of a proxy that takes its configuration from a control
// plane.
func planeFlags(f *pflag.FlagSet) {
	f.StringSlice("control-plane", nil, "`host:port` of a control plane to take the configuration from; may be given several times")
	f.String("control-plane-ca", "", "`file` with the certificates of the authorities to trust; default "+podCA+" if it exists, else the system's")
	f.String("control-plane-name", "", "`name` that the control plane's certificate has to carry; default the host in its address")
	f.String("control-plane-tls", "on", "off: speak plain text, with a control plane on this host only")
	f.String("control-plane-cert", "", "`file` with the certificate to show to the control plane")
	f.String("control-plane-key", "", "`file` with its private key")
	f.String("control-plane-protocol", "auto", "delta, sotw, or auto: delta where the control plane knows it")
	f.String("token-file", "", "`file` with the token to show, read for every stream; default "+podToken+" if it exists")
	f.String("node-id", "", "`name` of this node; default $POD_NAME.$POD_NAMESPACE, else the host's name")
	f.String("node-cluster", "", "`name` of the group of nodes that this one belongs to")
	f.String("state-dir", "", "`folder` for the last accepted configuration, which is used when no control plane answers at start; default none")
	f.String("config-wait", client.DefaultCacheWait.String(), "how long a control plane has at start before that is used")
}

// plane reads what is said of control planes; nil if none is named.
func (s *settings) plane() (*client.Options, error) {
	servers := s.List("control-plane")
	if len(servers) == 0 {
		return nil, nil //nolint:nilnil // documents, then
	}
	if err := s.noDocuments(); err != nil {
		return nil, exit.Usage(err)
	}
	o := &client.Options{Node: s.node()}
	var errs []error
	for _, server := range servers {
		server, err := serverAddress(server)
		errs = append(errs, err)
		o.Servers = append(o.Servers, server)
	}
	check := func(err error) { errs = append(errs, err) }
	var err error
	o.Credentials, err = s.credentials(o.Servers)
	check(err)
	o.Token = tokenFrom(existing(s.Text("token-file"), podToken))
	o.CacheWait, err = s.Duration("config-wait")
	check(err)
	o.CachePath, err = s.cache()
	check(err)
	if o.Mode, err = client.ParseMode(s.Text("control-plane-protocol")); err != nil {
		check(fmt.Errorf("--control-plane-protocol: %w", err))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, exit.Usage(err)
	}
	return o, nil
}

// noDocuments refuses the flags that make no sense beside a control plane.
func (s *settings) noDocuments() error {
	const exclusive = "--%s and --control-plane exclude each other: %s"
	var errs []error
	if len(s.List("file")) > 0 {
		errs = append(errs, fmt.Errorf(exclusive, "file", "the configuration comes either from documents or from a control plane"))
	}
	if s.Text("environment") != "" {
		errs = append(errs, fmt.Errorf(exclusive, "environment", "the control plane chooses, by the labels of the pod and its namespace"))
	}
	return errors.Join(errs...)
}

// serverAddress checks one --control-plane.
func serverAddress(text string) (string, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "unix://") {
		return text, nil
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" || port == "" {
		return text, fmt.Errorf("--control-plane %q: want host:port", text)
	}
	return text, nil
}

// existing is a file that was named, or the usual one if it is there.
func existing(named, usual string) string {
	if named != "" {
		return named
	}
	if _, err := os.Stat(usual); err == nil {
		return usual
	}
	return ""
}

func (s *settings) node() *corev3.Node {
	id := s.Text("node-id")
	if pod, namespace := os.Getenv("POD_NAME"), os.Getenv("POD_NAMESPACE"); id == "" && pod != "" && namespace != "" {
		id = pod + "." + namespace
	}
	if id == "" {
		id, _ = os.Hostname() // without one, the client complains of the missing id
	}
	return &corev3.Node{
		Id: id, Cluster: s.Text("node-cluster"),
		Locality:             &corev3.Locality{Zone: s.Text("zone")},
		UserAgentName:        "dragoman-proxy",
		UserAgentVersionType: &corev3.Node_UserAgentVersion{UserAgentVersion: command.Version()},
	}
}

func (s *settings) cache() (string, error) {
	dir := s.Text("state-dir")
	if dir == "" {
		return "", nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("--state-dir: %w", err)
	}
	return filepath.Join(dir, cacheFile), nil
}

// credentials secure the connections to control planes. Files are read at each
// connection, so that rotated ones are used.
func (s *settings) credentials(servers []string) (func(string) (credentials.TransportCredentials, error), error) {
	cert, key := s.Text("control-plane-cert"), s.Text("control-plane-key")
	if (cert == "") != (key == "") {
		return nil, errors.New("--control-plane-cert and --control-plane-key: give both or none")
	}
	switch mode := s.Text("control-plane-tls"); mode {
	case "on":
	case "off":
		for _, server := range servers {
			if !onThisHost(server) {
				return nil, fmt.Errorf("--control-plane-tls=off: %s is not on this host; the token and the secrets would be readable on the way", server)
			}
		}
		return func(string) (credentials.TransportCredentials, error) { return insecure.NewCredentials(), nil }, nil
	default:
		return nil, fmt.Errorf("--control-plane-tls %q: want on or off", mode)
	}
	ca, name := existing(s.Text("control-plane-ca"), podCA), s.Text("control-plane-name")
	return func(server string) (credentials.TransportCredentials, error) {
		cfg, err := planeTLS(cmp.Or(name, hostOf(server)), ca, cert, key)
		if err != nil {
			return nil, err
		}
		return credentials.NewTLS(cfg), nil
	}, nil
}

func planeTLS(name, ca, cert, key string) (*tls.Config, error) {
	cfg := &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := readSmall(ca)
		if err != nil {
			return nil, fmt.Errorf("reading the control plane's authority: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading the control plane's authority: %s holds no certificate in PEM", ca)
		}
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("reading the certificate for the control plane: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

func hostOf(server string) string {
	host, _, err := net.SplitHostPort(server)
	if err != nil {
		return "localhost" // a unix socket
	}
	return host
}

func onThisHost(server string) bool {
	if strings.HasPrefix(server, "unix://") {
		return true
	}
	host := hostOf(server)
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// tokenFrom reads the token of a file whenever it is asked.
func tokenFrom(file string) func(context.Context) (string, error) {
	if file == "" {
		return nil
	}
	return func(context.Context) (string, error) {
		b, err := readSmall(file)
		if err != nil {
			return "", fmt.Errorf("reading the token: %w", err)
		}
		token := strings.TrimSpace(string(b))
		if token == "" {
			return "", fmt.Errorf("reading the token: %s is empty", file)
		}
		return token, nil
	}
}

// readSmall reads a file of a size that tokens and authorities have.
func readSmall(name string) ([]byte, error) {
	const most = 1 << 20
	f, err := os.Open(name) // the name is the operator's
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && len(b) > most {
		err = fmt.Errorf("%s: larger than %d bytes", name, most)
	}
	return b, err
}
