package mesh

// +kubebuilder:validation:Enum=counter;gauge;histogram;summary;unknown

// MetricType is a type that a metric has or is given.
type MetricType string

// The types.
const (
	MetricCounter   MetricType = "counter"
	MetricGauge     MetricType = "gauge"
	MetricHistogram MetricType = "histogram"
	MetricSummary   MetricType = "summary"
	MetricUnknown   MetricType = "unknown"
)

// Values lists the types.
func (MetricType) Values() []string {
	return []string{"counter", "gauge", "histogram", "summary", "unknown"}
}

// Extraction reads one metric from a document: of every place that Path finds,
// one series.
type Extraction struct {
	// Name of the metric.
	// +kubebuilder:validation:Pattern=`^[a-zA-Z_:][a-zA-Z0-9_:]*$`
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Path of the value: JSONPath as kubectl has it ("{.items[*].count}"), an
	// XPath ("/status/worker/@requests"), a column or a key. For csv and keyValue a
	// * stands for any text.
	// +kubebuilder:validation:MaxLength=1024
	Path string `json:"path,omitempty"`
	// Query is a program for gojq instead of Path, for json alone. Each of its
	// results is a number, or an object {value, labels}.
	// +kubebuilder:validation:MaxLength=4096
	Query string `json:"query,omitempty"`
	// Value is the path of the value beneath what Path finds; absent: that itself.
	// +kubebuilder:validation:MaxLength=1024
	Value string `json:"value,omitempty"`
	// Labels and the paths of their values, beneath what Path finds. A path in
	// double quotes is the value itself.
	// +kubebuilder:validation:MaxProperties=16
	Labels map[string]string `json:"labels,omitempty"`
	// Type; default gauge.
	Type MetricType `json:"type,omitempty"`
	// Help of the metric, which is its # HELP line; absent: there is none.
	// +kubebuilder:validation:MaxLength=1024
	Help string `json:"help,omitempty"`
	// ValueMap gives texts that are no numbers one, as in {up: "1", down: "0"}. The
	// text * stands for all others.
	// +kubebuilder:validation:MaxProperties=64
	ValueMap map[string]Number `json:"valueMap,omitempty"`
	// Scale multiplies the value.
	Scale *Number `json:"scale,omitempty"`
}

// MetricsRule changes metrics whose names match; what is absent stays.
type MetricsRule struct {
	// Match is a regular expression (RE2) for the whole name; absent: every name.
	// +kubebuilder:validation:MaxLength=1024
	Match string `json:"match,omitempty"`
	// MatchType is the type that a metric must have for the rule to be applied;
	// absent: any.
	MatchType MetricType `json:"matchType,omitempty"`
	// MatchLabels are regular expressions for the whole values of labels that a
	// series must have. A rule with such changes series, and can not change help or
	// type without a new name.
	// +kubebuilder:validation:MaxProperties=16
	MatchLabels map[string]string `json:"matchLabels,omitempty"`
	// Action is Keep (what matches is changed and stays, the default) or Drop (what
	// matches is left out).
	Action RuleAction `json:"action,omitempty"`
	// Name is the new name; $1 or ${1} is what the first group of match matched.
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
	// Labels are set; groups of match may be in the values. An empty value removes
	// the label.
	// +kubebuilder:validation:MaxProperties=16
	Labels map[string]string `json:"labels,omitempty"`
	// Type is the new type.
	Type MetricType `json:"type,omitempty"`
	// Help is the new text of the # HELP line.
	// +kubebuilder:validation:MaxLength=1024
	Help string `json:"help,omitempty"`
	// Unit converts values, and the suffix of the name with them.
	Unit *UnitConversion `json:"unit,omitempty"`
	// Scale multiplies values of gauges, counters and those of unknown type.
	Scale *Number `json:"scale,omitempty"`
	// ValueMap gives values another one, as in {"2": "0"}; others stay.
	// +kubebuilder:validation:MaxProperties=64
	ValueMap map[string]Number `json:"valueMap,omitempty"`
	// TTL after which a series whose value stays the same is left out, until it
	// changes; default: never.
	TTL *Duration `json:"ttl,omitempty"`
}

// +kubebuilder:validation:Enum=Keep;Drop

// RuleAction is what a rule does with what matches.
type RuleAction string

// The actions.
const (
	RuleKeep RuleAction = "Keep"
	RuleDrop RuleAction = "Drop"
)

// Values lists the actions.
func (RuleAction) Values() []string { return []string{"Keep", "Drop"} }

// UnitConversion is from the unit in which an app counts to a base unit. A
// suffix of the name that says From becomes To, and a name without one gets it.
type UnitConversion struct {
	From Unit `json:"from"`
	// To; default: the base unit of From.
	To Unit `json:"to,omitempty"`
}

// +kubebuilder:validation:Enum=nanoseconds;microseconds;milliseconds;seconds;minutes;hours;days;bits;bytes;kilobytes;megabytes;gigabytes;kibibytes;mebibytes;gibibytes;percent;ratio;celsius;fahrenheit

// Unit is a unit, as names of metrics spell it.
type Unit string

// Values lists the units.
func (Unit) Values() []string {
	return []string{
		"nanoseconds", "microseconds", "milliseconds", "seconds", "minutes", "hours", "days",
		"bits", "bytes", "kilobytes", "megabytes", "gigabytes", "kibibytes", "mebibytes", "gibibytes",
		"percent", "ratio", "celsius", "fahrenheit",
	}
}

// Relabeling is one of Prometheus' relabel_config, in the spelling of its
// operator's metricRelabelings. The label __name__ is the name of the metric.
type Relabeling struct {
	// SourceLabels are labels whose values, joined by Separator, are what Regex is
	// held against.
	// +kubebuilder:validation:MaxItems=16
	SourceLabels []string `json:"sourceLabels,omitempty"`
	// Separator between the values of SourceLabels; default ";".
	// +kubebuilder:validation:MaxLength=16
	Separator *string `json:"separator,omitempty"`
	// Regex for the whole text; default (.*).
	// +kubebuilder:validation:MaxLength=1024
	Regex string `json:"regex,omitempty"`
	// Modulus of the hash of SourceLabels, for HashMod.
	Modulus uint64 `json:"modulus,omitempty"`
	// TargetLabel is the label that gets the result, and with KeepEqual and DropEqual
	// the one that is compared. An empty result removes it.
	// +kubebuilder:validation:MaxLength=253
	TargetLabel string `json:"targetLabel,omitempty"`
	// Replacement; default $1.
	// +kubebuilder:validation:MaxLength=1024
	Replacement *string `json:"replacement,omitempty"`
	// Action; default replace.
	Action RelabelAction `json:"action,omitempty"`
}

// +kubebuilder:validation:Enum=replace;keep;drop;hashmod;labelmap;labeldrop;labelkeep;lowercase;uppercase;keepequal;dropequal;Replace;Keep;Drop;HashMod;LabelMap;LabelDrop;LabelKeep;Lowercase;Uppercase;KeepEqual;DropEqual

// RelabelAction is what a relabelling does, in any of the two spellings of the
// operator.
type RelabelAction string

// Values lists the actions.
func (RelabelAction) Values() []string {
	return []string{
		"replace", "keep", "drop", "hashmod", "labelmap", "labeldrop", "labelkeep", "lowercase", "uppercase", "keepequal", "dropequal",
		"Replace", "Keep", "Drop", "HashMod", "LabelMap", "LabelDrop", "LabelKeep", "Lowercase", "Uppercase", "KeepEqual", "DropEqual",
	}
}
