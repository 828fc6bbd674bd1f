package mesh

// Adapter shows what an app has in the form that others want: its metrics to
// Prometheus, or its API to who speaks another. No version runs one yet: files
// with one are refused, and in a cluster its status says so.
type Adapter struct {
	APIVersion string      `json:"apiVersion"`
	Kind       string      `json:"kind"`
	Metadata   Metadata    `json:"metadata"`
	Spec       AdapterSpec `json:"spec"`

	src source
}

// Meta implements Object.
func (a *Adapter) Meta() *Metadata { return &a.Metadata }

// Key implements Object.
func (a *Adapter) Key() string { return a.Metadata.Namespace + "/" + a.Metadata.Name }

func (a *Adapter) source() *source { return &a.src }

// +kubebuilder:validation:XValidation:rule="has(self.metrics) != has(self.api)",message="exactly one of metrics and api is needed"

// AdapterSpec says what is adapted: exactly one of Metrics and API is there.
type AdapterSpec struct {
	// Selector says which pods of the namespace get the adapter; absent: all.
	// In a file it means nothing.
	Selector *Selector `json:"selector,omitempty"`
	// Metrics of the app, in whatever form it has them, for Prometheus.
	Metrics *MetricsAdapter `json:"metrics,omitempty"`
	// API in one format before an app that speaks another.
	API *APIAdapter `json:"api,omitempty"`
}

// MetricsAdapter gathers the metrics of all sources in one place.
type MetricsAdapter struct {
	Listen MetricsListen `json:"listen"`
	// Sources of metrics, each with a name of its own; at least one.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=name
	Sources []MetricsSource `json:"sources"`
	Limits  *MetricsLimits  `json:"limits,omitempty"`
}

// MetricsListen is where Prometheus asks.
type MetricsListen struct {
	// Address is an IP address; default 127.0.0.1. A Prometheus outside the pod
	// needs 0.0.0.0, or :: with IPv6.
	// +kubebuilder:validation:MaxLength=64
	Address string `json:"address,omitempty"`
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port uint32 `json:"port"`
	// Path of the URL; default /metrics.
	// +kubebuilder:validation:Pattern=`^/[^ ?#]*$`
	// +kubebuilder:validation:MaxLength=1024
	Path string `json:"path,omitempty"`
}

// MetricsLimits bound what the metrics may cost.
type MetricsLimits struct {
	// SeriesPerSource are kept, further ones counted and left out; default 10000.
	// +kubebuilder:validation:Minimum=1
	SeriesPerSource *uint32 `json:"seriesPerSource,omitempty"`
}

// +kubebuilder:validation:XValidation:rule="[has(self.nginxStubStatus), has(self.statsd), has(self.prometheus), has(self.json), has(self.expvar), has(self.textfile)].exists_one(x, x)",message="exactly one of nginxStubStatus, statsd, prometheus, json, expvar and textfile is needed"

// MetricsSource is one place where an app has metrics: a name, and exactly one of
// the other fields.
type MetricsSource struct {
	// Name is the label source of what is said of the source itself.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// NginxStubStatus is a page of nginx' module stub_status.
	NginxStubStatus *HTTPSource `json:"nginxStubStatus,omitempty"`
	// StatsD lines that the app sends.
	StatsD *StatsDSource `json:"statsd,omitempty"`
	// Prometheus is what another exporter shows, to be merged.
	Prometheus *HTTPSource `json:"prometheus,omitempty"`
	// JSON document, with the rules of json_exporter.
	JSON *JSONSource `json:"json,omitempty"`
	// Expvar is the page of Go's package expvar, usually at /debug/vars.
	Expvar *HTTPSource `json:"expvar,omitempty"`
	// Textfile is what the app writes to files.
	Textfile *TextfileSource `json:"textfile,omitempty"`
}

// HTTPSource is fetched when Prometheus asks.
type HTTPSource struct {
	// URI is that of the page: http://localhost/nginx_status.
	// +kubebuilder:validation:Pattern=`^https?://[^/?#@ ]+([/?][^# ]*)?$`
	// +kubebuilder:validation:MaxLength=2048
	URI string `json:"uri"`
	// Timeout bounds one fetch, which also ends shortly before Prometheus stops
	// waiting; default 5s.
	Timeout *Duration `json:"timeout,omitempty"`
}

// JSONSource is a document, and how metrics are read from it.
type JSONSource struct {
	HTTPSource `json:",inline"`
	// ConfigFile is one of json_exporter, in YAML; the file is the proxy's.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	ConfigFile string `json:"configFile"`
	// Module of that file; default "default".
	// +kubebuilder:validation:MaxLength=253
	Module string `json:"module,omitempty"`
}

// +kubebuilder:validation:XValidation:rule="has(self.udp) || has(self.tcp) || has(self.unixgram)",message="at least one of udp, tcp and unixgram is needed"

// StatsDSource is where the app sends lines. Ports are on 127.0.0.1.
type StatsDSource struct {
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	UDP uint32 `json:"udp,omitempty"`
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	TCP uint32 `json:"tcp,omitempty"`
	// Unixgram is the path of a unix datagram socket.
	// +kubebuilder:validation:Pattern=`^[/@].+$`
	// +kubebuilder:validation:MaxLength=107
	Unixgram string `json:"unixgram,omitempty"`
	// MappingFile is one of statsd_exporter, in YAML; the file is the proxy's.
	// Absent: names become those of metrics as they are.
	// +kubebuilder:validation:MaxLength=4096
	MappingFile string `json:"mappingFile,omitempty"`
}

// TextfileSource is a folder, as the textfile collector of node_exporter has it.
type TextfileSource struct {
	// Path of the folder; its files that end in .prom are read, in the text format
	// of Prometheus. It is the proxy's.
	// +kubebuilder:validation:Pattern=`^/.*$`
	// +kubebuilder:validation:MaxLength=4096
	Path string `json:"path"`
}
