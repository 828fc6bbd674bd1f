package mesh

import (
	"fmt"
	"slices"
	"strings"
)

// Environment is where a port leads in one environment.
type Environment struct {
	Upstream
	// Pools are further groups of servers, by name, for the prefix routes and
	// mirrors of protocol redis. Each inherits nothing from the environment.
	Pools map[string]Upstream `json:"pools,omitempty"`
}

// Upstream is a group of servers and how to get in. Exactly one of Address,
// Service, Endpoints, Shards, Cluster and Sentinel is there.
type Upstream struct {
	// Address of one server: "host:port", "[v6]:port" or the path of a unix socket.
	Address string `json:"address,omitempty"`
	// Service of one server; needs a control plane.
	Service *ServiceRef `json:"service,omitempty"`
	// Endpoints that are all alike, for tcp.
	Endpoints []Server `json:"endpoints,omitempty"`
	// Shards that the keys are spread over, for redis.
	Shards []Shard `json:"shards,omitempty"`
	// Cluster is a Redis Cluster, for redis.
	Cluster *RedisCluster `json:"cluster,omitempty"`
	// Sentinel knows the servers, for redis.
	Sentinel *Sentinel `json:"sentinel,omitempty"`

	// Database is selected at the servers, instead of spec.redis.database.
	Database    *uint32      `json:"database,omitempty"`
	Credentials *Credentials `json:"credentials,omitempty"`
	TLS         *UpstreamTLS `json:"tls,omitempty"`
}

// Server is one address or Service.
type Server struct {
	Address string      `json:"address,omitempty"`
	Service *ServiceRef `json:"service,omitempty"`
	// Weight among its like; default 1. Only for tcp endpoints.
	Weight *uint32 `json:"weight,omitempty"`
	// Zone where it runs, for readPolicy ZoneAffinity.
	Zone string `json:"zone,omitempty"`
}

// Shard is a primary and its replicas, which hold the same keys.
type Shard struct {
	// Name is what is hashed; default: the primary's address (without a port of
	// 11211, as twemproxy has it).
	Name string `json:"name,omitempty"`
	// Weight among the shards; default 1.
	Weight   *uint32  `json:"weight,omitempty"`
	Primary  Server   `json:"primary"`
	Replicas []Server `json:"replicas,omitempty"`
}

// RedisCluster is a Redis Cluster, known by some of its nodes.
type RedisCluster struct {
	// Seeds are addresses of nodes, any of which tells of the others.
	Seeds []string `json:"seeds"`
	// RefreshInterval between questions without cause; default 30s. Redirections
	// and failures cause others.
	RefreshInterval *Duration `json:"refreshInterval,omitempty"`
}

// Sentinel knows the primary and the replicas of each master.
type Sentinel struct {
	// Masters by their Sentinel name; each is a shard, named so.
	Masters []string `json:"masters"`
	// Addresses of the Sentinels.
	Addresses []string `json:"addresses"`
	// Credentials for the Sentinels themselves.
	Credentials *Credentials `json:"credentials,omitempty"`
	// TLS speaks to the Sentinels with the TLS settings of the servers; default false.
	TLS bool `json:"tls,omitempty"`
}

// Credentials for the servers. At most one source of a user name, exactly one of
// a password; a secret is both.
type Credentials struct {
	Username     string `json:"username,omitempty"`
	UsernameFile string `json:"usernameFile,omitempty"`
	UsernameEnv  string `json:"usernameEnv,omitempty"`
	PasswordFile string `json:"passwordFile,omitempty"`
	PasswordEnv  string `json:"passwordEnv,omitempty"`
	// Secret of the namespace with the key password and perhaps username (type
	// kubernetes.io/basic-auth); needs a control plane.
	Secret *SecretRef `json:"secret,omitempty"`
}

// UpstreamTLS is how servers are spoken to. All files are PEM, and read again
// when they change.
type UpstreamTLS struct {
	// Mode; default verify-full.
	Mode TLSMode `json:"mode,omitempty"`
	// CAFile holds the authorities trusted; absent: those of the system.
	CAFile string `json:"caFile,omitempty"`
	// CA is a Secret with the key ca.crt, instead of the file.
	CA *SecretSource `json:"ca,omitempty"`
	// CertFile and KeyFile are shown to servers that ask.
	CertFile string `json:"certFile,omitempty"`
	KeyFile  string `json:"keyFile,omitempty"`
	// Cert is a Secret of type kubernetes.io/tls, instead of the files.
	Cert *SecretSource `json:"cert,omitempty"`
	// ServerName is asked for and verified; default: the host of the address.
	ServerName string `json:"serverName,omitempty"`
}

// TLSMode is how much is demanded of a server, in PostgreSQL's words.
type TLSMode string

// The modes.
const (
	TLSDisable    TLSMode = "disable"     // plain text
	TLSRequire    TLSMode = "require"     // encrypted, to whomever
	TLSVerifyCA   TLSMode = "verify-ca"   // and with a certificate that is trusted
	TLSVerifyFull TLSMode = "verify-full" // and is for the name asked for
)

// Values lists the modes.
func (TLSMode) Values() []string {
	return []string{"disable", "require", "verify-ca", "verify-full"}
}

// ServiceRef names a port of a Kubernetes Service.
type ServiceRef struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"` // default: the object's own
	Port      uint32 `json:"port"`
}

// SecretRef names a Kubernetes Secret of the object's own namespace.
type SecretRef struct {
	Name string `json:"name"`
}

// SecretKeyRef names one key of such a Secret.
type SecretKeyRef struct {
	Name string `json:"name"`
	Key  string `json:"key,omitempty"` // default password
}

// SecretSource is a Secret where a file could be.
type SecretSource struct {
	Secret SecretRef `json:"secret"`
}

// servers lists those that an upstream names itself, in order.
func (u *Upstream) servers() []Server {
	out := []Server{{Address: u.Address, Service: u.Service}}
	out = append(out, u.Endpoints...)
	for i := range u.Shards {
		out = append(out, u.Shards[i].Primary)
		out = append(out, u.Shards[i].Replicas...)
	}
	return out
}

// Addresses lists all that an upstream names, seeds and Sentinels included, in
// order.
func (u *Upstream) Addresses() []string {
	var out []string
	for _, s := range u.servers() {
		out = append(out, s.Address)
	}
	if u.Cluster != nil {
		out = append(out, u.Cluster.Seeds...)
	}
	if u.Sentinel != nil {
		out = append(out, u.Sentinel.Addresses...)
	}
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

// Services lists the references to Services, in order.
func (u *Upstream) Services() []*ServiceRef {
	var out []*ServiceRef
	for _, s := range u.servers() {
		if s.Service != nil {
			out = append(out, s.Service)
		}
	}
	return out
}

// HashName is what twemproxy hashes for a shard: its name, else the address of
// its primary, without the port if that is memcached's, which was the default
// there.
func (s *Shard) HashName() string {
	if s.Name != "" {
		return s.Name
	}
	if v := s.Primary.Service; v != nil {
		return fmt.Sprintf("%s:%d", v.Name, v.Port)
	}
	return strings.TrimSuffix(s.Primary.Address, ":11211")
}
