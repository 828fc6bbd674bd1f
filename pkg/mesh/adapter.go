package mesh

// Adapter shows what an app has in the form that others want: its metrics to
// Prometheus, or its API to who speaks another.
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

// SelectorOf gives what says which pods an object is for; nil: all.
func SelectorOf(obj Object) *Selector {
	switch obj := obj.(type) {
	case *Ambassador:
		return obj.Spec.Selector
	case *Adapter:
		return obj.Spec.Selector
	}
	return nil
}

func (a *Adapter) source() *source { return &a.src }

// +kubebuilder:validation:XValidation:rule="[has(self.metrics), has(self.api), has(self.logs)].exists_one(x, x)",message="exactly one of metrics, api and logs is needed"

// AdapterSpec says what is adapted: exactly one of Metrics, API
// and Logs is there.
type AdapterSpec struct {
	// Selector says which pods of the namespace get the adapter; absent: all.
	// In a file it means nothing.
	Selector *Selector `json:"selector,omitempty"`
	// Metrics of the app, in whatever form it has them, for Prometheus.
	Metrics *MetricsAdapter `json:"metrics,omitempty"`
	// API in one format before an app that speaks another.
	API *APIAdapter `json:"api,omitempty"`
	// Logs of the app, out of its files, in one form.
	Logs *LogsAdapter `json:"logs,omitempty"`
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
	// Rules change what all sources give, after the rules of each.
	// +kubebuilder:validation:MaxItems=128
	Rules []MetricsRule `json:"rules,omitempty"`
	// Relabel changes and drops series of all sources, after all rules.
	// +kubebuilder:validation:MaxItems=64
	Relabel []Relabeling   `json:"relabel,omitempty"`
	Limits  *MetricsLimits `json:"limits,omitempty"`
	// ProxyMetrics says whether the proxy's own metrics are among them; default
	// Include, so that one place of a pod tells everything.
	ProxyMetrics ProxyMetrics `json:"proxyMetrics,omitempty"`
}

// +kubebuilder:validation:Enum=Include;Exclude

// ProxyMetrics is what becomes of the proxy's own metrics.
type ProxyMetrics string

// What may become of them.
const (
	ProxyMetricsInclude ProxyMetrics = "Include"
	ProxyMetricsExclude ProxyMetrics = "Exclude"
)

// Values lists what may become of them.
func (ProxyMetrics) Values() []string { return []string{"Include", "Exclude"} }

// MetricsListen is where Prometheus asks.
type MetricsListen struct {
	// Address is an IP address. Default: in a cluster 0.0.0.0, because Prometheus
	// asks from outside of the pod and nothing else is for it to ask; in a file
	// 127.0.0.1, as for every listener. With IPv6, :: is all addresses.
	// +kubebuilder:validation:MaxLength=64
	Address string `json:"address,omitempty"`
	// Port that Prometheus asks; usual is 9113.
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
	// BytesPerSource are read of what a source answers; a longer answer is an
	// error. Default 16Mi.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:Pattern=`^[0-9]+([kKMGT]|[KMGT]i)?B?$`
	BytesPerSource *Bytes `json:"bytesPerSource,omitempty"`
	// MinInterval is how long what a source gave is given again instead of asking
	// it: two Prometheus that ask at once cost as much as one. Default 1s.
	MinInterval *Duration `json:"minInterval,omitempty"`
}
