package redistest

import (
	"fmt"
	"strings"
)

// Option changes how a redis-server is started.
type Option func(*nodeConfig)

type nodeConfig struct {
	password   string
	users      []aclUser
	noDefault  bool
	pki        *PKI
	replicaOf  *Node
	unixSocket bool
	cluster    bool
	busPort    int
	host       string
	port       int // 0 for one that is reserved
	extra      []string
}

type aclUser struct{ name, password, rules string }

// WithPassword sets the default user's password, also for replication.
func WithPassword(password string) Option { return func(c *nodeConfig) { c.password = password } }

// WithUser adds an ACL user. The rules are Redis's, such as "~app:* +@all -@dangerous".
func WithUser(name, password, rules string) Option {
	return func(c *nodeConfig) { c.users = append(c.users, aclUser{name, password, rules}) }
}

// WithoutDefaultUser switches the default user off. Node's own commands, and replication, then use the first user of WithUser.
func WithoutDefaultUser() Option { return func(c *nodeConfig) { c.noDefault = true } }

// WithTLS serves TLS only, on the port of Addr, and verifies a client's certificate when it shows one.
func WithTLS(pki *PKI) Option { return func(c *nodeConfig) { c.pki = pki } }

// WithReplicaOf starts a replica, and waits until it follows its primary.
func WithReplicaOf(primary *Node) Option { return func(c *nodeConfig) { c.replicaOf = primary } }

// WithUnixSocket serves on a unix socket as well; SocketPath names it.
func WithUnixSocket() Option { return func(c *nodeConfig) { c.unixSocket = true } }

// WithAddress listens on an address that no other test has, at a port of choice, instead of 127.0.0.1 and a port of its own. It is for
// Server only.
func WithAddress(host string, port int) Option {
	return func(c *nodeConfig) { c.host, c.port = host, port }
}

// WithConfig adds lines of redis.conf.
func WithConfig(lines ...string) Option {
	return func(c *nodeConfig) { c.extra = append(c.extra, lines...) }
}

// withCluster starts a node of a Redis Cluster whose bus is on busPort.
func withCluster(busPort int) Option {
	return func(c *nodeConfig) { c.cluster, c.busPort = true, busPort }
}

// credentials returns the arguments of the AUTH that Node's own commands need; nil for none.
func (c *nodeConfig) credentials() []string {
	switch {
	case c.noDefault && len(c.users) > 0:
		return []string{c.users[0].name, c.users[0].password}
	case c.password != "":
		return []string{c.password}
	default:
		return nil
	}
}

// render returns redis.conf. Nothing is saved to disk, and a replica gets its first copy without the usual wait.
func (c *nodeConfig) render(port int, socketPath string) string {
	lines := []string{
		"bind " + c.host,
		"protected-mode no",
		"daemonize no",
		`save ""`,
		"appendonly no",
		"repl-diskless-sync yes",
		"repl-diskless-sync-delay 0",
		"repl-ping-replica-period 1",
		"maxclients 12000",
		"latency-tracking no",
	}
	lines = append(lines, c.renderPorts(port, socketPath)...)
	lines = append(lines, c.renderAuth()...)
	if c.replicaOf != nil {
		lines = append(lines, fmt.Sprintf("replicaof %s %d", c.replicaOf.config.host, c.replicaOf.port))
	}
	if c.cluster {
		lines = append(lines,
			"cluster-enabled yes",
			"cluster-config-file nodes.conf",
			"cluster-node-timeout 2000",
			"cluster-replica-validity-factor 0",
			"cluster-allow-replica-migration no",
			fmt.Sprintf("cluster-port %d", c.busPort))
	}
	return strings.Join(append(lines, c.extra...), "\n") + "\n"
}

func (c *nodeConfig) renderPorts(port int, socketPath string) []string {
	var lines []string
	if c.pki == nil {
		lines = append(lines, fmt.Sprintf("port %d", port))
	} else {
		lines = append(lines,
			"port 0",
			fmt.Sprintf("tls-port %d", port),
			"tls-ca-cert-file "+c.pki.CAFile,
			"tls-cert-file "+c.pki.ServerCertFile,
			"tls-key-file "+c.pki.ServerKeyFile,
			"tls-auth-clients optional",
			"tls-replication yes",
			"tls-cluster yes")
	}
	if c.unixSocket {
		lines = append(lines, "unixsocket "+socketPath)
	}
	return lines
}

func (c *nodeConfig) renderAuth() []string {
	var lines []string
	for _, u := range c.users {
		lines = append(lines, fmt.Sprintf("user %s on >%s %s", u.name, u.password, u.rules))
	}
	if c.noDefault {
		lines = append(lines, "user default off")
		if len(c.users) > 0 {
			lines = append(lines, "masteruser "+c.users[0].name, "masterauth "+c.users[0].password)
		}
	} else if c.password != "" {
		lines = append(lines, "requirepass "+c.password, "masterauth "+c.password)
	}
	return lines
}
