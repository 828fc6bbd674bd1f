package mapping

import (
	"regexp"
	"time"
)

// Type is a kind of metric as match_metric_type tells them apart.
type Type uint8

// The types. A set is exposed as a gauge, and matched as one.
const (
	Counter Type = iota
	Gauge
	Observer // timers, histograms and distributions
	types
)

// ObserverType says what observations become.
type ObserverType uint8

// The observer types.
const (
	Summary ObserverType = iota
	Histogram
)

// Quantile is one that a summary shows, and how far from it its rank may be.
type Quantile struct {
	Quantile, Error float64
}

// SummaryOptions are those of a summary. Zero stands for the default of
// client_golang: 10 minutes, 5 buckets, 500 observations.
type SummaryOptions struct {
	Quantiles  []Quantile
	MaxAge     time.Duration
	AgeBuckets int // in which MaxAge is divided
	BufCap     int // observations
}

// HistogramOptions are those of a histogram, classic and native at once.
type HistogramOptions struct {
	Buckets []float64 // upper bounds without +Inf, increasing
	// NativeFactor is by how much a bucket is wider than the one before at most;
	// 1 or less: no native histogram.
	NativeFactor float64
	// NativeMaxBuckets is how many there may be before resolution is halved; 0:
	// any number.
	NativeMaxBuckets int
}

// Label is a label that a rule sets, with the template of its value.
type Label struct {
	Name, Template string

	parts template
}

// Rule is one mapping, with the defaults filled in.
type Rule struct {
	Line        int // in the file
	Match       string
	Regex       bool
	Types       [types]bool // which it is for
	Name        string      // the template
	Labels      []Label     // by name
	HonorLabels bool        // a tag of the sample is stronger than the rule's label
	Help        string      // empty: the default
	Drop        bool
	Observer    ObserverType
	TTL         time.Duration // 0: forever
	HasScale    bool
	Scale       float64
	Summary     SummaryOptions
	Histogram   HistogramOptions

	regex *regexp.Regexp // nil for a glob
	stars []int          // the fields that a glob's stars stand for
	name  template
}

// Scaled is the value as the rule scales it.
func (r *Rule) Scaled(v float64) float64 {
	if r.HasScale {
		return v * r.Scale
	}
	return v
}

// File is a mapping file. It is read-only.
type File struct {
	// Default is the rule of metrics that no rule matches: it has neither a name
	// nor labels, and the observer type, the options and the TTL of the defaults.
	Default *Rule
	Rules   []*Rule // in the order of the file

	unordered bool // glob_disable_ordering
	globs     *node
	regexes   []*Rule
}

// Defaults of statsd_exporter and client_golang.
const (
	defaultNativeFactor     = 1.1
	defaultNativeMaxBuckets = 256
)

func defaultBuckets() []float64 { return []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10} }

func defaultQuantiles() []Quantile {
	return []Quantile{{0.5, 0.05}, {0.9, 0.01}, {0.99, 0.001}}
}

// Empty is a file without rules.
func Empty() *File {
	f, _ := Parse("", nil)
	return f
}
