package mesh

// +kubebuilder:validation:XValidation:rule="[has(self.nginxStubStatus), has(self.statsd), has(self.prometheus), has(self.json), has(self.xml), has(self.jolokia), has(self.redis), has(self.postgres), has(self.mysql), has(self.csv), has(self.keyValue), has(self.graphite), has(self.influx), has(self.expvar), has(self.textfile)].exists_one(x, x)",message="exactly one of nginxStubStatus, statsd, prometheus, json, xml, jolokia, redis, postgres, mysql, csv, keyValue, graphite, influx, expvar and textfile is needed"

// MetricsSource is one place where an app has metrics: a name, exactly one of
// the fields from NginxStubStatus on, and what is done with what it gives.
type MetricsSource struct {
	// Name is the label source of what is said of the source itself.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// Prefix is put before the names of all metrics of the source.
	// +kubebuilder:validation:Pattern=`^[a-zA-Z_:][a-zA-Z0-9_:]*$`
	// +kubebuilder:validation:MaxLength=128
	Prefix string `json:"prefix,omitempty"`
	// Labels are given to all series of the source; a label that a series has
	// already stays.
	// +kubebuilder:validation:MaxProperties=16
	Labels map[string]string `json:"labels,omitempty"`
	// Rules change metrics of this source; each is applied to what the one before
	// has left.
	// +kubebuilder:validation:MaxItems=128
	Rules []MetricsRule `json:"rules,omitempty"`
	// Relabel changes and drops series of this source, after Rules.
	// +kubebuilder:validation:MaxItems=64
	Relabel []Relabeling `json:"relabel,omitempty"`

	// NginxStubStatus is a page of nginx' module stub_status, or of Tengine's.
	NginxStubStatus *HTTPSource `json:"nginxStubStatus,omitempty"`
	// StatsD lines that the app sends.
	StatsD *StatsDSource `json:"statsd,omitempty"`
	// Prometheus is what another exporter shows, to be merged.
	Prometheus *HTTPSource `json:"prometheus,omitempty"`
	// JSON document, with rules of its own or those of json_exporter.
	JSON *JSONSource `json:"json,omitempty"`
	// XML document, with rules.
	XML *XMLSource `json:"xml,omitempty"`
	// Jolokia shows the MBeans of a JVM.
	Jolokia *JolokiaSource `json:"jolokia,omitempty"`
	// Redis is asked for INFO.
	Redis *ServerSource `json:"redis,omitempty"`
	// Postgres is asked for its statistics.
	Postgres *ServerSource `json:"postgres,omitempty"`
	// MySQL, or MariaDB, is asked for its status.
	MySQL *ServerSource `json:"mysql,omitempty"`
	// CSV is a table with a line of names, with rules.
	CSV *CSVSource `json:"csv,omitempty"`
	// KeyValue is a text of lines with a key and a value each.
	KeyValue *KeyValueSource `json:"keyValue,omitempty"`
	// Graphite lines that the app sends.
	Graphite *GraphiteSource `json:"graphite,omitempty"`
	// Influx lines that the app sends.
	Influx *InfluxSource `json:"influx,omitempty"`
	// Expvar is the page of Go's package expvar, usually at /debug/vars.
	Expvar *HTTPSource `json:"expvar,omitempty"`
	// Textfile is what the app writes to files.
	Textfile *TextfileSource `json:"textfile,omitempty"`
}

// Auth gives who the proxy is to the source, or nil.
func (s *MetricsSource) Auth() *SourceAuth {
	switch {
	case s.NginxStubStatus != nil:
		return s.NginxStubStatus.Auth
	case s.Prometheus != nil:
		return s.Prometheus.Auth
	case s.JSON != nil:
		return s.JSON.Auth
	case s.XML != nil:
		return s.XML.Auth
	case s.Jolokia != nil:
		return s.Jolokia.Auth
	case s.Redis != nil:
		return s.Redis.Auth
	case s.Postgres != nil:
		return s.Postgres.Auth
	case s.MySQL != nil:
		return s.MySQL.Auth
	case s.CSV != nil:
		return s.CSV.Auth
	case s.KeyValue != nil:
		return s.KeyValue.Auth
	case s.Expvar != nil:
		return s.Expvar.Auth
	}
	return nil
}

// HTTPSource is fetched when Prometheus asks.
type HTTPSource struct {
	// URI is that of the page: http://localhost/nginx_status, or
	// unix:/run/app.sock:/status over a unix socket. The sources json, xml, csv and
	// keyValue also take file:///var/lib/app/stats.json.
	// +kubebuilder:validation:Pattern=`^(https?://[^/?#@ ]+([/?][^# ]*)?|unix:[/@][^:]+(:/[^# ]*)?|file:///[^?#]+)$`
	// +kubebuilder:validation:MaxLength=2048
	URI string `json:"uri"`
	// Timeout bounds one fetch, which also ends shortly before Prometheus stops
	// waiting; default 5s.
	Timeout *Duration `json:"timeout,omitempty"`
	// Headers of the request. They are shown to whoever may see the configuration:
	// what is secret goes into auth.
	// +kubebuilder:validation:MaxProperties=16
	Headers map[string]string `json:"headers,omitempty"`
	// Auth is who the proxy is to the app.
	Auth *SourceAuth `json:"auth,omitempty"`
	// TLS of an https URI; absent: the system's authorities are trusted.
	TLS *SourceTLS `json:"tls,omitempty"`
}

// +kubebuilder:validation:XValidation:rule="[has(self.passwordFile), has(self.passwordEnv), has(self.passwordSecret), has(self.bearerTokenFile), has(self.bearerTokenEnv), has(self.bearerTokenSecret)].filter(x, x).size() <= 1",message="at most one password or bearer token may be there"

// SourceAuth is a user name with a password, or a bearer token. Files and
// variables hold the secret and nothing else; an ending line break does not count.
type SourceAuth struct {
	// Username that goes with a password; over HTTP both are Basic authentication.
	// +kubebuilder:validation:MaxLength=253
	Username string `json:"username,omitempty"`
	// PasswordFile is the path of a file with the password, which is the proxy's and
	// read again when it changes.
	// +kubebuilder:validation:MaxLength=4096
	PasswordFile string `json:"passwordFile,omitempty"`
	// PasswordEnv names a variable of the proxy's environment with the password.
	// +kubebuilder:validation:MaxLength=253
	PasswordEnv string `json:"passwordEnv,omitempty"`
	// PasswordSecret is a Secret with the password; needs a control plane.
	PasswordSecret *SecretKeyRef `json:"passwordSecret,omitempty"`
	// BearerTokenFile is the path of a file with the token of the header
	// "Authorization: Bearer", which is the proxy's and read again when it changes.
	// +kubebuilder:validation:MaxLength=4096
	BearerTokenFile string `json:"bearerTokenFile,omitempty"`
	// BearerTokenEnv names a variable of the proxy's environment with the token.
	// +kubebuilder:validation:MaxLength=253
	BearerTokenEnv string `json:"bearerTokenEnv,omitempty"`
	// BearerTokenSecret is a Secret with the token; needs a control plane.
	BearerTokenSecret *SecretKeyRef `json:"bearerTokenSecret,omitempty"`
}

// SourceTLS is how the app is spoken to over TLS. Files are the proxy's.
type SourceTLS struct {
	// CAFile holds the authorities that are trusted instead of the system's.
	// +kubebuilder:validation:MaxLength=4096
	CAFile string `json:"caFile,omitempty"`
	// CertFile is a certificate that is shown to the app; it goes with KeyFile.
	// +kubebuilder:validation:MaxLength=4096
	CertFile string `json:"certFile,omitempty"`
	// KeyFile is the private key of CertFile.
	// +kubebuilder:validation:MaxLength=4096
	KeyFile string `json:"keyFile,omitempty"`
	// ServerName that the certificate must have; default: the host of the URI.
	// +kubebuilder:validation:MaxLength=253
	ServerName string `json:"serverName,omitempty"`
	// InsecureSkipVerify takes any certificate.
	InsecureSkipVerify bool `json:"insecureSkipVerify,omitempty"`
}

// +kubebuilder:validation:XValidation:rule="has(self.configFile) != has(self.extract)",message="exactly one of configFile and extract is needed"

// JSONSource is a document, and how metrics are read from it.
type JSONSource struct {
	HTTPSource `json:",inline"`
	// ConfigFile is one of json_exporter, in YAML; the file is the proxy's.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	ConfigFile string `json:"configFile,omitempty"`
	// Module of that file; default "default".
	// +kubebuilder:validation:MaxLength=253
	Module string `json:"module,omitempty"`
	// Extract says instead what is read.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	Extract []Extraction `json:"extract,omitempty"`
}

// XMLSource is a document, and how metrics are read from it.
type XMLSource struct {
	HTTPSource `json:",inline"`
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	Extract []Extraction `json:"extract"`
}

// JolokiaSource is an agent of Jolokia in a JVM.
type JolokiaSource struct {
	HTTPSource `json:",inline"`
	// JVM says whether memory, threads, classes and garbage collections of the JVM
	// are read, under the names that client_java gives them; default Include.
	JVM JVMMetrics `json:"jvm,omitempty"`
	// Beans are what else is read.
	// +kubebuilder:validation:MaxItems=256
	Beans []JolokiaBean `json:"beans,omitempty"`
}

// +kubebuilder:validation:Enum=Include;Exclude

// JVMMetrics is what becomes of the metrics that every JVM has.
type JVMMetrics string

// What may become of them.
const (
	JVMMetricsInclude JVMMetrics = "Include"
	JVMMetricsExclude JVMMetrics = "Exclude"
)

// Values lists what may become of them.
func (JVMMetrics) Values() []string { return []string{"Include", "Exclude"} }

// JolokiaBean is an MBean, or a pattern of such.
type JolokiaBean struct {
	// MBean as in "Catalina:type=ThreadPool,name=*". Properties that are * become
	// labels.
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=512
	MBean string `json:"mbean"`
	// Attributes that are read; absent: all that are numbers or booleans.
	// +kubebuilder:validation:MaxItems=64
	Attributes []string `json:"attributes,omitempty"`
	// Name before that of the attribute; default: domain and type of the MBean.
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
	// Type of all attributes; default gauge.
	Type MetricType `json:"type,omitempty"`
	// Help of the metrics, which is their # HELP line; absent: there is none.
	// +kubebuilder:validation:MaxLength=1024
	Help string `json:"help,omitempty"`
	// Labels with fixed values.
	// +kubebuilder:validation:MaxProperties=16
	Labels map[string]string `json:"labels,omitempty"`
}

// CSVSource is a table whose first line names the columns.
type CSVSource struct {
	HTTPSource `json:",inline"`
	// Delimiter between columns, one character; default ",".
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1
	Delimiter string `json:"delimiter,omitempty"`
	// Extract names columns by their path.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	Extract []Extraction `json:"extract"`
}

// KeyValueSource is a text with a key and a value in each line. Lines that begin
// with # count nothing.
type KeyValueSource struct {
	HTTPSource `json:",inline"`
	// Separator between key and value; default: =, : or white space, whichever
	// comes first.
	// +kubebuilder:validation:MaxLength=8
	Separator string `json:"separator,omitempty"`
	// Extract names keys by their path; absent: every key with a number is a gauge.
	// +kubebuilder:validation:MaxItems=256
	Extract []Extraction `json:"extract,omitempty"`
}

// EventListen is where lines of an app arrive. Ports are on Address.
type EventListen struct {
	// Address is an IP address; default 127.0.0.1.
	// +kubebuilder:validation:MaxLength=64
	Address string `json:"address,omitempty"`
	// UDP is a port for datagrams of lines; absent: there is none.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	UDP uint32 `json:"udp,omitempty"`
	// TCP is a port for connections with lines; absent: there is none. It may have the
	// number of UDP.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	TCP uint32 `json:"tcp,omitempty"`
	// Unixgram is the path of a unix datagram socket.
	// +kubebuilder:validation:Pattern=`^[/@].+$`
	// +kubebuilder:validation:MaxLength=107
	Unixgram string `json:"unixgram,omitempty"`
	// UnixgramMode are that socket's permission bits, in octal ("0660"); absent: as
	// the umask leaves them. Who sends needs to be allowed to write.
	UnixgramMode FileMode `json:"unixgramMode,omitempty"`
	// ReadBuffer that is asked of the kernel for UDP and unix datagrams; default 4Mi.
	// The kernel gives as much as net.core.rmem_max allows; 0: the system's default.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:Pattern=`^[0-9]+([kKMGT]|[KMGT]i)?B?$`
	ReadBuffer *Bytes `json:"readBuffer,omitempty"`
	// TTL after which a series that got nothing is forgotten; default: never.
	TTL *Duration `json:"ttl,omitempty"`
}

// +kubebuilder:validation:XValidation:rule="has(self.udp) || has(self.tcp) || has(self.unixgram)",message="at least one of udp, tcp and unixgram is needed"

// StatsDSource is where the app sends lines of StatsD, with the tags of any
// dialect.
type StatsDSource struct {
	EventListen `json:",inline"`
	// MappingFile is one of statsd_exporter, in YAML; the file is the proxy's.
	// Absent, like Mapping: names become those of metrics as they are.
	// +kubebuilder:validation:MaxLength=4096
	MappingFile string `json:"mappingFile,omitempty"`
	// Mapping is the text of such a file.
	// +kubebuilder:validation:MaxLength=65536
	Mapping string `json:"mapping,omitempty"`
	// Dialects whose tags are labels; absent: all of them. Those of others are a part
	// of the name, or an error.
	// +kubebuilder:validation:MaxItems=4
	Dialects []StatsDDialect `json:"dialects,omitempty"`
	// MaxConnections over TCP at once; default 1000.
	// +kubebuilder:validation:Maximum=100000
	MaxConnections uint32 `json:"maxConnections,omitempty"`
	// IdleTimeout after which a connection without lines is closed; absent: never.
	IdleTimeout *Duration `json:"idleTimeout,omitempty"`
	// Relay sends each line on to another StatsD.
	Relay *StatsDRelay `json:"relay,omitempty"`
}

// StatsDRelay is another StatsD, which gets each line as it came, over UDP.
type StatsDRelay struct {
	// Address is "host:port" or "[v6]:port".
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=260
	Address string `json:"address"`
	// PacketLength is how many bytes of lines a datagram gets at most; default 1400.
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=65507
	PacketLength uint32 `json:"packetLength,omitempty"`
}

// +kubebuilder:validation:Enum=DogStatsD;InfluxDB;Librato;SignalFX

// StatsDDialect is how tags are written in a line of StatsD.
type StatsDDialect string

// The dialects.
const (
	DialectDogStatsD StatsDDialect = "DogStatsD" // a:1|c|#k:v
	DialectInfluxDB  StatsDDialect = "InfluxDB"  // a,k=v:1|c
	DialectLibrato   StatsDDialect = "Librato"   // a#k=v:1|c
	DialectSignalFX  StatsDDialect = "SignalFX"  // a[k=v]:1|c
)

// Values lists the dialects.
func (StatsDDialect) Values() []string {
	return []string{"DogStatsD", "InfluxDB", "Librato", "SignalFX"}
}

// +kubebuilder:validation:XValidation:rule="has(self.udp) || has(self.tcp) || has(self.unixgram)",message="at least one of udp, tcp and unixgram is needed"

// GraphiteSource is where the app sends lines of Graphite's plain text protocol.
type GraphiteSource struct {
	EventListen `json:",inline"`
	// MappingFile is one of graphite_exporter, which is as statsd_exporter's; the
	// file is the proxy's.
	// +kubebuilder:validation:MaxLength=4096
	MappingFile string `json:"mappingFile,omitempty"`
	// Mapping is the text of such a file.
	// +kubebuilder:validation:MaxLength=65536
	Mapping string `json:"mapping,omitempty"`
}

// +kubebuilder:validation:XValidation:rule="has(self.udp) || has(self.tcp) || has(self.unixgram) || has(self.http)",message="at least one of udp, tcp, unixgram and http is needed"

// InfluxSource is where the app sends InfluxDB's line protocol.
type InfluxSource struct {
	EventListen `json:",inline"`
	// HTTP is a port on which /write and /api/v2/write are answered.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	HTTP uint32 `json:"http,omitempty"`
}

// TextfileSource is a folder, as the textfile collector of node_exporter has it.
type TextfileSource struct {
	// Path of the folder; its files that end in .prom are read, in the text format
	// of Prometheus. It is the proxy's.
	// +kubebuilder:validation:Pattern=`^/.*$`
	// +kubebuilder:validation:MaxLength=4096
	Path string `json:"path"`
}
