package json

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/fetch"
)

// maxSecret bounds a file with a password or a certificate.
const maxSecret = 1 << 20

// httpFile is the part of Prometheus' HTTP client configuration that means
// something for a fetch; the rest is refused, since a request without it would
// not be the one that was meant.
type httpFile struct {
	BasicAuth *struct {
		Username     string `yaml:"username"`
		UsernameFile string `yaml:"username_file"`
		Password     string `yaml:"password"`
		PasswordFile string `yaml:"password_file"`
	} `yaml:"basic_auth"`
	Authorization *struct {
		Type            string `yaml:"type"`
		Credentials     string `yaml:"credentials"`
		CredentialsFile string `yaml:"credentials_file"`
	} `yaml:"authorization"`
	BearerToken     string  `yaml:"bearer_token"`
	BearerTokenFile string  `yaml:"bearer_token_file"`
	TLS             tlsFile `yaml:"tls_config"`
	FollowRedirects *bool   `yaml:"follow_redirects"`
	EnableHTTP2     *bool   `yaml:"enable_http2"` // HTTP/1.1 is what is spoken, as json_exporter does
	ProxyURL        string  `yaml:"proxy_url"`
	HTTPHeaders     map[string]struct {
		Values []string `yaml:"values"`
	} `yaml:"http_headers"`
	OAuth2               any `yaml:"oauth2"`
	ProxyFromEnvironment any `yaml:"proxy_from_environment"`
	NoProxy              any `yaml:"no_proxy"`
	ProxyConnectHeader   any `yaml:"proxy_connect_header"`
}

type tlsFile struct {
	CA                 string `yaml:"ca"`
	CAFile             string `yaml:"ca_file"`
	Cert               string `yaml:"cert"`
	CertFile           string `yaml:"cert_file"`
	Key                string `yaml:"key"`
	KeyFile            string `yaml:"key_file"`
	ServerName         string `yaml:"server_name"`
	InsecureSkipVerify bool   `yaml:"insecure_skip_verify"`
	MinVersion         string `yaml:"min_version"`
	MaxVersion         string `yaml:"max_version"`
}

func (h *httpFile) fetch() (fetch.Config, error) {
	out := fetch.Config{NoRedirects: h.FollowRedirects != nil && !*h.FollowRedirects}
	for name, value := range map[string]any{
		"oauth2": h.OAuth2, "proxy_from_environment": h.ProxyFromEnvironment, "no_proxy": h.NoProxy, "proxy_connect_header": h.ProxyConnectHeader,
	} {
		if yes, isBool := value.(bool); value != nil && (yes || !isBool) {
			return out, fmt.Errorf("%s: is not supported", name)
		}
	}
	if err := h.credentials(&out); err != nil {
		return out, err
	}
	if h.ProxyURL != "" {
		u, err := url.Parse(h.ProxyURL)
		if err != nil || u.Host == "" {
			return out, errors.New("proxy_url: is not a URL")
		}
		out.Proxy = u
	}
	for name, h := range h.HTTPHeaders {
		if out.Header == nil {
			out.Header = make(http.Header)
		}
		out.Header[http.CanonicalHeaderKey(name)] = h.Values
	}
	cfg, err := h.TLS.config()
	if err != nil {
		return out, fmt.Errorf("tls_config.%w", err)
	}
	out.TLS = cfg
	return out, nil
}

func (h *httpFile) credentials(out *fetch.Config) error {
	ways := 0
	if b := h.BasicAuth; b != nil {
		if b.Username != "" && b.UsernameFile != "" || b.Password != "" && b.PasswordFile != "" {
			return errors.New("basic_auth: a value and a file for the same")
		}
		out.Username, out.Password = secret(b.Username, b.UsernameFile), secret(b.Password, b.PasswordFile)
		ways++
	}
	if a := h.Authorization; a != nil {
		if a.Credentials != "" && a.CredentialsFile != "" {
			return errors.New("authorization: both credentials and credentials_file")
		}
		if strings.EqualFold(strings.TrimSpace(a.Type), "basic") {
			return errors.New(`authorization.type: cannot be "basic"; use basic_auth`)
		}
		out.Bearer, out.Scheme = secret(a.Credentials, a.CredentialsFile), strings.TrimSpace(a.Type)
		ways++
	}
	if h.BearerToken != "" || h.BearerTokenFile != "" {
		out.Bearer = secret(h.BearerToken, h.BearerTokenFile)
		ways++
	}
	if ways > 1 || h.BearerToken != "" && h.BearerTokenFile != "" {
		return errors.New("basic_auth: at most one of basic_auth, authorization, bearer_token and bearer_token_file")
	}
	return nil
}

// secret is a value, or what a file holds whenever it is asked for.
func secret(value, file string) fetch.Secret {
	if file == "" {
		return func() (string, error) { return value, nil }
	}
	return func() (string, error) {
		data, err := readFile(file)
		return strings.TrimSpace(string(data)), err
	}
}

func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxSecret {
		return nil, fmt.Errorf("file %s: more than %d bytes", name, maxSecret)
	}
	return os.ReadFile(name)
}

// pem is a value or a file's, nil if there is neither.
func pem(value, file string) ([]byte, error) {
	if file != "" {
		return readFile(file)
	}
	if value != "" {
		return []byte(value), nil
	}
	return nil, nil
}

func (t *tlsFile) config() (*tls.Config, error) {
	cfg := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         t.ServerName,
		InsecureSkipVerify: t.InsecureSkipVerify, //nolint:gosec // the user asks for it, by the same name
	}
	ca, err := pem(t.CA, t.CAFile)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	if ca != nil {
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(ca) {
			return nil, errors.New("ca_file: holds no certificate")
		}
	}
	cert, err := pem(t.Cert, t.CertFile)
	if err != nil {
		return nil, fmt.Errorf("cert_file: %w", err)
	}
	key, err := pem(t.Key, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("key_file: %w", err)
	}
	if cert != nil || key != nil {
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("cert_file: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	if t.MinVersion != "" {
		if cfg.MinVersion, err = version(t.MinVersion); err != nil {
			return nil, fmt.Errorf("min_version: %w", err)
		}
	}
	if t.MaxVersion != "" {
		if cfg.MaxVersion, err = version(t.MaxVersion); err != nil {
			return nil, fmt.Errorf("max_version: %w", err)
		}
	}
	return cfg, nil
}

func version(name string) (uint16, error) {
	switch name {
	case "TLS10":
		return tls.VersionTLS10, nil
	case "TLS11":
		return tls.VersionTLS11, nil
	case "TLS12":
		return tls.VersionTLS12, nil
	case "TLS13":
		return tls.VersionTLS13, nil
	}
	return 0, fmt.Errorf("%q is no version; use TLS10, TLS11, TLS12 or TLS13", name)
}
