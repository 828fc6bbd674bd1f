package mesh

import (
	"fmt"
	"slices"
	"strings"
)

// +kubebuilder:validation:XValidation:rule="!has(self.requireAuth) || self.requireAuth.exists(m, m != 'password') || has(self.tls) && (!has(self.tls.mode) || self.tls.mode in ['verify-ca', 'verify-full'])",message="requireAuth with password alone needs tls that verifies the server"

// Environment is where a port leads in one environment.
type Environment struct {
	Upstream `json:",inline"`
	// Pools are further groups of servers, by name, for the prefix routes and
	// mirrors of protocol redis, and for gather of protocol http. Each inherits
	// nothing from the environment.
	// +kubebuilder:validation:MaxProperties=32
	Pools map[string]Upstream `json:"pools,omitempty"`
	// Access of the app to a database; default ReadWrite.
	Access Access `json:"access,omitempty"`
	// Standbys of a database, beside the primary that address or service names.
	// The servers are asked for their roles, and of a standby that was promoted
	// the answer counts, and not the document.
	// +kubebuilder:validation:MaxItems=64
	Standbys []Server `json:"standbys,omitempty"`
	// TargetSessionAttrs says which servers of a database sessions of spec.listen
	// go to; default read-write where there are standbys (primary with access
	// ReadOnly). Where it is written, the servers are asked for their roles also
	// without standbys: a headless Service may have primary and standbys as pods.
	TargetSessionAttrs TargetSessionAttrs `json:"targetSessionAttrs,omitempty"`
	// RoleLabel: the value of this label of pods says what a server of a database
	// is, primary, master or leader; replica, standby, slave, follower or secondary;
	// and servers are not asked. Pods with none of them are left out.
	// +kubebuilder:validation:MaxLength=317
	RoleLabel string `json:"roleLabel,omitempty"`
	// RequireAuth lists ways to log in, of which a server of protocol postgres must
	// ask for one: somebody in its place may else do with less. Default: any, and
	// the password itself over verified TLS only.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	RequireAuth []PostgresLoginMethod `json:"requireAuth,omitempty"`
}

// +kubebuilder:validation:XValidation:rule="[has(self.address), has(self.service), has(self.leader), has(self.endpoints), has(self.shards), has(self.shardsFrom), has(self.cluster), has(self.sentinel)].exists_one(x, x)",message="exactly one of address, service, leader, endpoints, shards, shardsFrom, cluster and sentinel is needed"

// Upstream is a group of servers and how to get in. Exactly one of Address,
// Service, Leader, Endpoints, Shards, ShardsFrom, Cluster and Sentinel is there.
type Upstream struct {
	// Address of one server: "host:port", "[v6]:port" or the path of a unix socket.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=260
	Address string `json:"address,omitempty"`
	// Service whose endpoints are all alike for tcp and databases, and the
	// primaries of one shard for redis; needs a control plane.
	Service *ServiceRef `json:"service,omitempty"`
	// Leader is the pod that others have chosen, where one address could be;
	// needs a control plane that follows Kubernetes.
	Leader *LeaderRef `json:"leader,omitempty"`
	// Endpoints that are all alike, for tcp and databases.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1024
	Endpoints []Server `json:"endpoints,omitempty"`
	// Shards that the keys are spread over, for redis.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	Shards []Shard `json:"shards,omitempty"`
	// ShardsFrom finds the shards among the pods of a Service, for redis; needs
	// a control plane.
	ShardsFrom *ShardsFrom `json:"shardsFrom,omitempty"`
	// Cluster is a Redis Cluster, for redis.
	Cluster *RedisCluster `json:"cluster,omitempty"`
	// Sentinel knows the servers, for redis.
	Sentinel *Sentinel `json:"sentinel,omitempty"`

	// Database is a number that is selected at Redis servers, instead of
	// spec.redis.database; and the name of a database for postgres and mysql,
	// instead of the one that the app asks for.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=256
	Database    *Database    `json:"database,omitempty"`
	Credentials *Credentials `json:"credentials,omitempty"`
	TLS         *UpstreamTLS `json:"tls,omitempty"`
}

// Server is one address or Service: exactly one of them is there.
type Server struct {
	// Address is "host:port", "[v6]:port" or the path of a unix socket.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=260
	Address string `json:"address,omitempty"`
	// Service stands for each of its endpoints; needs a control plane.
	Service *ServiceRef `json:"service,omitempty"`
	// Weight among its like, of each endpoint of a Service; default 1. Only for
	// tcp endpoints.
	// +kubebuilder:validation:Minimum=1
	Weight *uint32 `json:"weight,omitempty"`
	// Zone where it runs, for readPolicy ZoneAffinity. Of a Service: where its
	// endpoints run that do not say so themselves.
	// +kubebuilder:validation:MaxLength=253
	Zone string `json:"zone,omitempty"`
}

// Shard is a primary and its replicas, which hold the same keys.
type Shard struct {
	// Name is what is hashed; default: the primary's address (without a port of
	// 11211, as twemproxy has it), or its Service's "name:port".
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
	// Weight among the shards; default 1.
	// +kubebuilder:validation:Minimum=1
	Weight *uint32 `json:"weight,omitempty"`
	// Primary takes the writes. Of a Service that should be one endpoint; of
	// several the first is the primary, and the others are taken for replicas.
	// Shards with names may have one and the same: each has keys of its own there.
	Primary Server `json:"primary"`
	// Replicas may take reads. Of a Service each endpoint is one.
	// +kubebuilder:validation:MaxItems=64
	Replicas []Server `json:"replicas,omitempty"`
}

// +kubebuilder:validation:XValidation:rule="!has(self.roleLabel) || has(self.shardLabel)",message="roleLabel needs shardLabel, which says whose replica a pod is"

// ShardsFrom makes shards of the endpoints of a Service, which is usually
// headless and that of a StatefulSet.
type ShardsFrom struct {
	Service ServiceRef `json:"service"`
	// ShardLabel: pods with the same value of this label are one shard, which is
	// named by the value; pods without it are left out. Absent: every endpoint is
	// a shard of its own, named by its hostname (that of a pod of a StatefulSet is
	// lasting), else by its pod, else by its address.
	// +kubebuilder:validation:MaxLength=317
	ShardLabel string `json:"shardLabel,omitempty"`
	// RoleLabel: the value of this label says what a pod is in its shard: primary,
	// master or leader; replica, standby, slave, follower or secondary. Pods with none of
	// them are left out. Absent, where there is a shardLabel: the servers are asked
	// for their ROLE. Needs shardLabel.
	// +kubebuilder:validation:MaxLength=317
	RoleLabel string `json:"roleLabel,omitempty"`
	// Names of the shards that there are, in order. One that has no endpoint keeps
	// its keys, which get errors, and endpoints of others are left out. Absent:
	// shards come and go with the pods, and keys with them; then the distribution
	// must not be modula, which goes by the order.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	Names []string `json:"names,omitempty"`
}

// RedisCluster is a Redis Cluster, known by some of its nodes.
type RedisCluster struct {
	// Seeds are addresses of nodes, any of which tells of the others.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1024
	Seeds []string `json:"seeds"`
	// RefreshInterval between questions without cause; default 30s. Redirections
	// and failures cause others.
	RefreshInterval *Duration `json:"refreshInterval,omitempty"`
}

// Sentinel knows the primary and the replicas of each master.
type Sentinel struct {
	// Masters by their Sentinel name; each is a shard, named so.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	Masters []string `json:"masters"`
	// Addresses of the Sentinels.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Addresses []string `json:"addresses"`
	// Credentials for the Sentinels themselves.
	Credentials *Credentials `json:"credentials,omitempty"`
	// TLS speaks to the Sentinels with the TLS settings of the servers; default false.
	TLS bool `json:"tls,omitempty"`
}

// +kubebuilder:validation:XValidation:rule="[has(self.passwordFile), has(self.passwordEnv), has(self.secret)].filter(x, x).size() <= 1",message="at most one of passwordFile, passwordEnv and secret may be there"
// +kubebuilder:validation:XValidation:rule="[has(self.username), has(self.usernameFile), has(self.usernameEnv), has(self.secret)].filter(x, x).size() <= 1",message="at most one of username, usernameFile, usernameEnv and secret may be there"

// Credentials for the servers. At most one source of a user name, exactly one of
// a password; a secret is both. Databases need a user name, and may do without a
// password where the server trusts a certificate or a socket. Files and variables
// are the proxy's, also where a control plane reads the object.
type Credentials struct {
	// Username as it is.
	Username string `json:"username,omitempty"`
	// UsernameFile holds the name and nothing else; an ending line break does not
	// count. It is read again when it changes.
	UsernameFile string `json:"usernameFile,omitempty"`
	// UsernameEnv is the variable that holds the name.
	UsernameEnv string `json:"usernameEnv,omitempty"`
	// PasswordFile holds the password and nothing else; an ending line break does
	// not count. It is read again when it changes.
	PasswordFile string `json:"passwordFile,omitempty"`
	// PasswordEnv is the variable that holds the password.
	PasswordEnv string `json:"passwordEnv,omitempty"`
	// Secret of the namespace with the key password and perhaps username (type
	// kubernetes.io/basic-auth); needs a control plane.
	Secret *SecretRef `json:"secret,omitempty"`
}

// +kubebuilder:validation:XValidation:rule="!(has(self.ca) && has(self.caFile))",message="only one of ca and caFile may be there"
// +kubebuilder:validation:XValidation:rule="has(self.certFile) == has(self.keyFile)",message="certFile and keyFile go together"
// +kubebuilder:validation:XValidation:rule="!(has(self.cert) && has(self.certFile))",message="only one of cert and certFile may be there"

// UpstreamTLS is how servers are spoken to. All files are PEM, and read again
// when they change; they are the proxy's, also where a control plane reads the
// object.
type UpstreamTLS struct {
	// Mode; default verify-full.
	Mode TLSMode `json:"mode,omitempty"`
	// CAFile holds the authorities trusted; absent: those of the system.
	CAFile string `json:"caFile,omitempty"`
	// CA is a Secret or a ConfigMap, instead of the file.
	CA *CASource `json:"ca,omitempty"`
	// CertFile is shown to servers that ask for a certificate.
	CertFile string `json:"certFile,omitempty"`
	// KeyFile belongs to CertFile.
	KeyFile string `json:"keyFile,omitempty"`
	// Cert is a Secret of type kubernetes.io/tls, instead of the files.
	Cert *SecretSource `json:"cert,omitempty"`
	// ServerName is asked for and verified; default: the host of the address, or
	// "name.namespace.svc" of the Service ("hostname.name.namespace.svc" for the
	// endpoints of shardsFrom that have a hostname).
	// +kubebuilder:validation:MaxLength=253
	ServerName string `json:"serverName,omitempty"`
	// Direct begins with TLS at once, instead of asking the server for it in the
	// protocol; for servers of PostgreSQL 17 and later, and proxies before them;
	// default false.
	Direct bool `json:"direct,omitempty"`
}

// +kubebuilder:validation:Enum=disable;prefer;require;verify-ca;verify-full

// TLSMode is how much is demanded of a server, in PostgreSQL's words.
type TLSMode string

// The modes.
const (
	TLSDisable    TLSMode = "disable"     // plain text
	TLSPrefer     TLSMode = "prefer"      // encrypted where a database offers it, to whomever
	TLSRequire    TLSMode = "require"     // encrypted, to whomever
	TLSVerifyCA   TLSMode = "verify-ca"   // and with a certificate that is trusted
	TLSVerifyFull TLSMode = "verify-full" // and is for the name asked for
)

// Values lists the modes.
func (TLSMode) Values() []string {
	return []string{"disable", "prefer", "require", "verify-ca", "verify-full"}
}

// ServiceRef names a port of a Kubernetes Service.
type ServiceRef struct {
	// Name of the Service.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// Namespace; default: the object's own. A Service of another one must name
	// that of the object in its annotation mesh.dragoman.io/allow-from.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
	// Port of the Service, not of its pods.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port uint32 `json:"port"`
}

// LeaderRef names an election, and a port of the pod that has won it. There is no
// server while there is no leader.
type LeaderRef struct {
	// Election is the name of a Lease of the object's own namespace, as that which
	// proxy leader-elector --election=NAME keeps. Its holder is the name of a pod
	// of the namespace, perhaps with _ and anything after it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Election string `json:"election"`
	// Port of the pod.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port uint32 `json:"port"`
}

// SecretRef names a Kubernetes Secret of the object's own namespace.
type SecretRef struct {
	// Name of the Secret.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// SecretKeyRef names one key of such a Secret.
type SecretKeyRef struct {
	// Name of the Secret.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Key; default password.
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key,omitempty"`
}

// SecretSource is a Secret where files could be.
type SecretSource struct {
	Secret SecretRef `json:"secret"`
}

// +kubebuilder:validation:XValidation:rule="has(self.secret) != has(self.configMap)",message="exactly one of secret and configMap is needed"

// CASource holds authorities where a file could: exactly one of its fields is
// there. It is of the object's own namespace, and needs a control plane.
type CASource struct {
	// Secret with the key ca.crt.
	Secret    *SecretRef       `json:"secret,omitempty"`
	ConfigMap *ConfigMapKeyRef `json:"configMap,omitempty"`
}

// kind is what the authorities come from, for people.
func (s *CASource) kind() string {
	if s.ConfigMap != nil {
		return "ConfigMap"
	}
	return "secret"
}

// ConfigMapKeyRef names one key of a Kubernetes ConfigMap.
type ConfigMapKeyRef struct {
	// Name of the ConfigMap.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Key; default ca.crt.
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key,omitempty"`
}

// servers lists those that an upstream names itself, in order.
func (u *Upstream) servers() []Server {
	out := []Server{{Address: u.Address, Service: u.Service}}
	out = append(out, u.Endpoints...)
	if u.ShardsFrom != nil {
		out = append(out, Server{Service: &u.ShardsFrom.Service})
	}
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
