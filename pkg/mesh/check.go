package mesh

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
)

// checker collects what is wrong in one object that could be read.
type checker struct {
	options
	obj  Object
	errs Errors
}

func (c *checker) fail(path, reason, hint string) {
	src := c.obj.source()
	at := src.at(path)
	c.errs = append(c.errs, &Error{
		File: src.file, Line: at.line, Column: at.column, Object: c.obj.Key(),
		Path: path, Reason: reason, Hint: hint,
	})
}

func (c *checker) require(ok bool, path, reason, hint string) {
	if !ok {
		c.fail(path, reason, hint)
	}
}

// needsControlPlane refuses a reference in a file.
func (c *checker) needsControlPlane(path, what, instead string) {
	if !c.services {
		c.fail(path, what+" cannot be followed without a control plane", instead)
	}
}

func checkAmbassador(a *Ambassador, o options) Errors {
	c := &checker{options: o, obj: a}
	c.metadata(a.APIVersion, &a.Metadata)
	s := &a.Spec
	switch s.Protocol {
	case ProtocolRedis:
		c.redis(s.Redis, "spec.redis")
		c.require(s.TCP == nil, "spec.tcp", "does not go with protocol redis", "remove it")
	case ProtocolTCP:
		c.tcp(s.TCP, "spec.tcp")
		c.require(s.Redis == nil, "spec.redis", "does not go with protocol tcp", "remove it")
		c.byteLimits(s.Limits, s.Protocol)
	case "":
		c.fail("spec.protocol", "is missing", oneOf(supported()))
	default:
		if !slices.Contains(supported(), string(s.Protocol)) {
			c.fail("spec.protocol", fmt.Sprintf("protocol %s is not supported by this version", s.Protocol), oneOf(supported()))
			return c.errs
		}
	}
	c.http(s)
	c.ambassadorGRPC(s)
	c.databases(s)
	c.readOnlyPort(s)
	c.onlyDatabases(s.Limits, s.Protocol)
	c.selector(s.Selector)
	c.listen(&s.Listen, "spec.listen")
	c.keepalive(s.TCPKeepalive, "spec.tcpKeepalive")
	c.limits(s.Limits)
	c.environments(s)
	c.choice(s)
	return c.errs
}

// supported lists the protocols that this version serves.
func supported() []string {
	return []string{string(ProtocolRedis), string(ProtocolTCP), string(ProtocolPostgres), string(ProtocolMySQL), string(ProtocolHTTP)}
}

func (c *checker) metadata(apiVersion string, m *Metadata) {
	unknown := "is missing"
	if apiVersion != "" {
		unknown = fmt.Sprintf("unknown version %q", clip(apiVersion))
	}
	c.require(apiVersion == APIVersion, "apiVersion", unknown, `use "`+APIVersion+`"`)
	const rule = "use lower-case letters, digits and -"
	if m.Name == "" {
		c.fail("metadata.name", "is missing", "as in metadata: {name: cache}")
	} else {
		c.require(IsDNSLabel(m.Name), "metadata.name", fmt.Sprintf("%q is not a name", clip(m.Name)), rule)
	}
	c.require(IsDNSLabel(m.Namespace), "metadata.namespace",
		fmt.Sprintf("%q is not a namespace", clip(m.Namespace)), rule)
}

func (c *checker) selector(s *Selector) {
	if s == nil {
		return
	}
	for i, r := range s.MatchExpressions {
		at := fmt.Sprintf("spec.selector.matchExpressions[%d]", i)
		c.require(r.Key != "", at+".key", "is missing", "")
		switch r.Operator {
		case SelectorIn, SelectorNotIn:
			c.require(len(r.Values) > 0, at+".values", "is missing", "In and NotIn compare with values")
		case SelectorExists, SelectorDoesNotExist:
			c.require(len(r.Values) == 0, at+".values", "does not go with "+string(r.Operator), "remove it")
		default:
			c.fail(at+".operator", "is missing", oneOf(r.Operator.Values()))
		}
	}
}

func (c *checker) listen(l *Listen, at string) {
	switch {
	case l.Path != "" && (l.Port != 0 || l.Address != ""):
		c.fail(at, "has a path and an address or port", "one listener binds to one of them")
	case l.Path != "":
		c.require(isSocketPath(l.Path), at+".path", "must be absolute (or begin with @) and at most 107 bytes", "")
	default:
		c.require(l.Port >= 1 && l.Port <= 65535, at+".port", "a port from 1 to 65535, or a path, is needed", "")
		c.require(l.Mode == 0, at+".mode", "goes with a path only", "remove it")
		if _, err := netip.ParseAddr(l.Address); l.Address != "" && err != nil {
			c.fail(at+".address", fmt.Sprintf("%q is not an IP address", clip(l.Address)), "127.0.0.1 is the default")
		}
	}
	c.atLeastOne(l.Backlog, at+".backlog")
	c.require(l.TCPKeepalive == nil || l.Path == "", at+".tcpKeepalive", "goes with a port only", "remove it")
	c.keepalive(l.TCPKeepalive, at+".tcpKeepalive")
	if l.TLS == nil {
		return
	}
	t := l.TLS
	c.keyPair(at+".tls", t.CertFile, t.KeyFile, t.Cert, true)
	c.authorities(at+".tls.clientCA", t.ClientCAFile, t.ClientCA)
	c.require(!t.RequireClientCert || t.ClientCAFile != "" || t.ClientCA != nil, at+".tls.requireClientCert",
		"needs the authorities that sign client certificates", "set clientCAFile")
}

// keyPair checks a certificate and its key, which come as two files or a secret.
func (c *checker) keyPair(at, certFile, keyFile string, cert *SecretSource, needed bool) {
	switch {
	case cert != nil:
		c.require(certFile+keyFile == "", at+".cert", "is there twice, as file and as secret", "remove one")
		c.secret(cert.Secret.Name, at+".cert.secret", "name files")
	case certFile == "" && keyFile == "":
		c.require(!needed, at, "needs a certificate", "set certFile and keyFile")
	case certFile == "":
		c.fail(at+".certFile", "is missing, but keyFile is there", "")
	case keyFile == "":
		c.fail(at+".keyFile", "is missing, but certFile is there", "")
	}
}

// authorities checks what is a file, a secret or a ConfigMap.
func (c *checker) authorities(at, file string, s *CASource) {
	if s == nil {
		return
	}
	c.require(file == "", at, "is there twice, as file and as "+s.kind(), "remove one")
	c.require((s.Secret != nil) != (s.ConfigMap != nil), at, "needs exactly one source",
		oneOf([]string{"secret", "configMap"}))
	if s.Secret != nil {
		c.secret(s.Secret.Name, at+".secret", "name a file")
	}
	if m := s.ConfigMap; m != nil {
		c.require(isObjectName(m.Name), at+".configMap.name", "must be the name of a ConfigMap", "")
		c.dataKey(m.Key, at+".configMap.key")
		c.needsControlPlane(at+".configMap", "a ConfigMap", "name a file")
	}
}

// secret checks a reference to a Secret.
func (c *checker) secret(name, at, instead string) {
	c.require(isObjectName(name), at+".name", "must be the name of a Secret", "")
	c.needsControlPlane(at, "a Secret", instead)
}

// dataKey checks a key of a Secret or ConfigMap; "" is the default.
func (c *checker) dataKey(key, at string) {
	c.require(key == "" || isDataKey(key), at, fmt.Sprintf("%q is not a key", clip(key)),
		"letters, digits, and - _ .; at most 253")
}

func (c *checker) limits(l *Limits) {
	if l == nil {
		return
	}
	c.atLeastOne(l.MaxConnections, "spec.limits.maxConnections")
	c.atLeastOne(l.MaxPipeline, "spec.limits.maxPipeline")
	c.atLeastOne(l.MaxWaiting, "spec.limits.maxWaiting")
	if l.MaxRequestBytes != nil {
		c.require(*l.MaxRequestBytes >= 1024, "spec.limits.maxRequestBytes", "must be at least 1024", "")
	}
}

// byteLimits refuses the limits that only mean something where commands are read.
func (c *checker) byteLimits(l *Limits, p Protocol) {
	if l == nil {
		return
	}
	why := fmt.Sprintf("does not go with protocol %s", p)
	c.require(l.MaxRequestBytes == nil, "spec.limits.maxRequestBytes", why, "remove it")
	c.require(l.SlowClientTimeout == nil, "spec.limits.slowClientTimeout", why, "remove it")
	c.require(l.MaxPipeline == nil, "spec.limits.maxPipeline", why, "remove it")
}

func (c *checker) tcp(t *TCPSpec, at string) {
	if t == nil {
		return
	}
	c.positive(t.ConnectTimeout, at+".connectTimeout")
	c.atLeastOne(t.MaxConnectAttempts, at+".maxConnectAttempts")
	c.checks(t.HealthCheck, t.OutlierDetection, t.RequestLimit, at)
	if t.HealthCheck != nil {
		c.require(!t.HealthCheck.ProbeRole, at+".healthCheck.probeRole", "does not go with protocol tcp", "remove it")
	}
	if l := t.RequestLimit; l != nil {
		c.require(l.MaxPending == nil && l.MaxRequests == nil, at+".requestLimit",
			"only maxConnections goes with protocol tcp", "remove the others")
	}
}

// choice checks how an environment is found.
func (c *checker) choice(s *AmbassadorSpec) {
	known := func(at, name string) {
		if _, ok := s.Environments[name]; !ok {
			c.fail(at, fmt.Sprintf("there is no environment %q", clip(name)),
				hintOf(name, slices.Sorted(maps.Keys(s.Environments))))
		}
	}
	if s.DefaultEnvironment != "" {
		known("spec.defaultEnvironment", s.DefaultEnvironment)
	}
	for i, r := range s.EnvironmentRules {
		at := fmt.Sprintf("spec.environmentRules[%d]", i)
		known(at+".environment", r.Environment)
		_, err := path.Match(r.Match, "")
		c.require(r.Match != "" && err == nil, at+".match", "is not a pattern", `as in "*-prod"`)
	}
}

func (c *checker) atLeastOne(v *uint32, at string) {
	c.require(v == nil || *v > 0, at, "must be at least 1", "")
}

func (c *checker) positive(d *Duration, at string) {
	c.require(d == nil || *d > 0, at, "must be longer than 0", "")
}

// IsDNSLabel reports whether s is a label as in RFC 1123, in lower case: the form
// of the names of objects, Services and namespaces.
func IsDNSLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	})
}

// isObjectName reports whether Kubernetes takes s for the name of a Secret or
// ConfigMap: DNS labels with dots between them.
func isObjectName(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !IsDNSLabel(label) {
			return false
		}
	}
	return true
}

// isDataKey reports whether s may be a key of a Secret or ConfigMap.
func isDataKey(s string) bool {
	return s != "" && len(s) <= 253 && s != "." && s != ".." && !strings.ContainsFunc(s, func(r rune) bool {
		return !isAlphanumeric(r) && r != '-' && r != '_' && r != '.'
	})
}

// isLabelKey reports whether s may be the key of a Kubernetes label: a name,
// perhaps after a DNS name and a slash.
func isLabelKey(s string) bool {
	if prefix, name, ok := strings.Cut(s, "/"); ok {
		return isObjectName(prefix) && isLabelValue(name)
	}
	return isLabelValue(s)
}

func isAlphanumeric(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// isLabelValue reports whether s may be the value of a Kubernetes label.
func isLabelValue(s string) bool {
	if s == "" || len(s) > 63 || !isAlphanumeric(rune(s[0])) || !isAlphanumeric(rune(s[len(s)-1])) {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !isAlphanumeric(r) && r != '-' && r != '_' && r != '.'
	})
}

// isSocketPath reports whether a path fits into a sockaddr_un.
func isSocketPath(s string) bool {
	return len(s) > 1 && len(s) <= 107 && (s[0] == '/' || s[0] == '@')
}

// SplitAddress takes "host:port", "[v6]:port" or the path of a unix socket
// apart. One of host and path is "".
func SplitAddress(address string) (host string, port uint32, path string, err error) {
	if address != "" && (address[0] == '/' || address[0] == '@') {
		if !isSocketPath(address) {
			return "", 0, "", fmt.Errorf("the path %q is too long or too short", clip(address))
		}
		return "", 0, address, nil
	}
	if strings.Contains(address, "://") { // with a password in it, perhaps
		return "", 0, "", errors.New("a URL is no address")
	}
	colon := strings.LastIndexByte(address, ':')
	if colon < 0 {
		return "", 0, "", fmt.Errorf("%q has no port", clip(address))
	}
	host = address[:colon]
	if v6, ok := strings.CutPrefix(host, "["); ok && strings.HasSuffix(v6, "]") {
		host = v6[:len(v6)-1]
		if ip, err := netip.ParseAddr(host); err != nil || !ip.Is6() {
			return "", 0, "", fmt.Errorf("%q is not an IPv6 address", clip(host))
		}
	} else if !isHost(host) {
		return "", 0, "", fmt.Errorf("%q is not a host name or IP address", clip(host))
	}
	n, err := strconv.ParseUint(address[colon+1:], 10, 16)
	if err != nil || n == 0 {
		return "", 0, "", fmt.Errorf("%q is not a port from 1 to 65535", clip(address[colon+1:]))
	}
	return host, uint32(n), "", nil
}

// isHost takes IPv4 addresses and DNS names, with the underscore that some
// have and the dot at the end that makes one absolute.
func isHost(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if !IsDNSLabel(strings.ReplaceAll(strings.ToLower(label), "_", "x")) {
			return false
		}
	}
	// What looks like an IPv4 address must be one.
	if strings.Trim(s, "0123456789.") == "" {
		ip, err := netip.ParseAddr(s)
		return err == nil && ip.Is4()
	}
	return true
}
