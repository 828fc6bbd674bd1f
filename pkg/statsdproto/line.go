package statsdproto

// Type says what a sample is about.
type Type uint8

// The types, by what stands for them in a line.
const (
	Counter      Type = iota + 1 // c
	Gauge                        // g
	Timer                        // ms, in milliseconds
	Histogram                    // h
	Distribution                 // d
	Set                          // s
)

// String is the type as a line spells it.
func (t Type) String() string {
	switch t {
	case Counter:
		return "c"
	case Gauge:
		return "g"
	case Timer:
		return "ms"
	case Histogram:
		return "h"
	case Distribution:
		return "d"
	case Set:
		return "s"
	default:
		return ""
	}
}

// Observed tells whether samples of the type are observations, of which a
// summary or a histogram is made.
func (t Type) Observed() bool { return t == Timer || t == Histogram || t == Distribution }

func typeOf(b []byte) Type {
	switch string(b) {
	case "c":
		return Counter
	case "g":
		return Gauge
	case "ms":
		return Timer
	case "h":
		return Histogram
	case "d":
		return Distribution
	case "s":
		return Set
	default:
		return 0
	}
}

// Reason is what is wrong with a line or a sample. It is an error, and makes
// none when it is used as one.
type Reason uint8

// The reasons, as statsd_exporter counts them.
const (
	MalformedLine        Reason = iota + 1 // no name, no colon, or not UTF-8
	MixedTaggingStyles                     // DogStatsD tags and others
	NotEnoughParts                         // no '|' behind the colon
	InvalidAggregateType                   // several values of a type that can't have them
	MalformedComponent                     // an empty section, too few or too many
	MalformedValue                         // not a number
	InvalidSampleFactor                    // not a number behind '@', or no known section
	MalformedContainerID                   // c without its id
	IllegalEvent                           // an unknown type
	reasons
)

// Reasons is the length of a table that is indexed by a Reason.
const Reasons = int(reasons)

const (
	minSections      = 2 // value and type
	maxSections      = 8 // and rate, tags, container, e, card, T
	sampleSeparator  = ':'
	sectionSeparator = '|'
	tagSeparator     = ','
	nameTagAssign    = '='
	datadogTagAssign = ':'
	defaultRate      = 1
)

// String is the name under which statsd_exporter counts it.
func (r Reason) String() string {
	switch r {
	case MalformedLine:
		return "malformed_line"
	case MixedTaggingStyles:
		return "mixed_tagging_styles"
	case NotEnoughParts:
		return "not_enough_parts_after_colon"
	case InvalidAggregateType:
		return "invalid_extended_aggregate_type"
	case MalformedComponent:
		return "malformed_component"
	case MalformedValue:
		return "malformed_value"
	case InvalidSampleFactor:
		return "invalid_sample_factor"
	case MalformedContainerID:
		return "malformed_container_id"
	case IllegalEvent:
		return "illegal_event"
	default:
		return "unknown"
	}
}

// Error implements error.
func (r Reason) Error() string { return "statsd: " + r.String() }

// Styles says which dialects' tags are tags, rather than a part of the name.
type Styles uint8

// The dialects.
const (
	SignalFX Styles = 1 << iota // name[k=v,...]
	Librato                     // name#k=v,...
	Influx                      // name,k=v,...
	Datadog                     // ...|#k:v,...

	AllStyles = SignalFX | Librato | Influx | Datadog
)

// Tag is a key and its value, neither of them empty, as they were sent.
type Tag struct {
	Key, Value []byte
}

// Sample is one value. A set's is in Member, anything else's is in Value.
type Sample struct {
	Type     Type
	Relative bool    // the value was sent with a sign: of a gauge it is a difference
	Value    float64 // as sent: milliseconds of a timer
	Rate     float64 // as sent; 1 when none was, or 0
	Member   []byte
}

// Increment is by how much a counter grows: the value as if all had been
// sampled.
func (s *Sample) Increment() float64 { return s.Value / s.Rate }

// Times is how many observations the one that was sampled stands for: whole
// ones, rounded down, and none for a rate above 1 or below 0. limit bounds it.
func (s *Sample) Times(limit int) int {
	n := 1 / s.Rate
	switch {
	case n >= float64(limit):
		return limit
	case n >= 1:
		return int(n)
	default: // and NaN
		return 0
	}
}

// Line is one parsed line. It may be used again, and takes no memory then.
type Line struct {
	Name      []byte
	Tags      []Tag // in the order in which they were sent; the last of a key counts
	Container []byte
	Timestamp []byte // what is behind T, unchecked
	Samples   []Sample

	// Problems counts what was wrong with single samples, by Reason.
	Problems [Reasons]uint16
	// BadTags counts tags without a key or without a value.
	BadTags int

	scratch []byte // name of a line with SignalFX tags in the middle of it
}

func (l *Line) reset() {
	l.Name, l.Container, l.Timestamp = nil, nil, nil
	l.Tags, l.Samples = l.Tags[:0], l.Samples[:0]
	l.Problems = [Reasons]uint16{}
	l.BadTags = 0
}

func (l *Line) problem(r Reason) {
	if l.Problems[r] < 1<<16-1 {
		l.Problems[r]++
	}
}
