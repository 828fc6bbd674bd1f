package statsd

import (
	"strconv"

	"github.com/dragoman-mesh/dragoman/pkg/statsdproto"
)

// Event is a kind of sample as statsd_exporter counts them.
type Event uint8

const (
	counterEvent Event = iota
	gaugeEvent
	observerEvent
	setEvent
	events
)

// Conflict is samples of a type whose name has another one.
type Conflict struct {
	Event Event
	Name  string
}

// String is its label.
func (e Event) String() string {
	switch e {
	case counterEvent:
		return "counter"
	case gaugeEvent:
		return "gauge"
	case observerEvent:
		return "observer"
	case setEvent:
		return "set"
	default:
		return strconv.Itoa(int(e))
	}
}

// Stats is what has happened since the source was made.
type Stats struct {
	Lines   uint64 // that were not empty
	Samples uint64 // that were sound
	// Problems counts lines and samples with something wrong, by
	// statsdproto.Reason.
	Problems [statsdproto.Reasons]uint64
	Tagged   uint64 // samples with tags
	BadTags  uint64

	Events    [events]uint64 // samples that reached a series
	Conflicts [events]uint64 // that did not, since the name has another type
	Unmapped  uint64
	Mapped    uint64
	Dropped   uint64 // by a rule's action

	EmptyNames       uint64 // the mapping left nothing of the name
	NegativeCounters uint64 // counters never fall
	IllegalNumbers   uint64 // neither NaN nor Inf is a count or an observation
	OverLimit        uint64 // samples of series that there was no room for
	LongLines        uint64 // lines that were longer than allowed

	Datagrams     uint64 // over UDP
	UnixDatagrams uint64
	Truncated     uint64 // datagrams and connections whose last line was cut off
	KernelDrops   uint64 // datagrams that arrived when a socket's buffer was full
	Connections   uint64 // over TCP, since the beginning
	Refused       uint64 // connections above the limit
	TCPErrors     uint64

	Families [kinds]int // now
	Series   [kinds]int // now
	Expired  uint64
	Mappings int // rules
}

// losses counts samples, lines, datagrams or connections that are not in what is
// shown, by reason.
func (s *Stats) losses() map[string]uint64 {
	out := map[string]uint64{
		"kernel": s.KernelDrops, "series_limit": s.OverLimit, "line_too_long": s.LongLines, "truncated": s.Truncated,
		"connection_limit": s.Refused, "empty_metric_name": s.EmptyNames, "illegal_negative_counter": s.NegativeCounters,
		"illegal_number": s.IllegalNumbers, "malformed_tag": s.BadTags,
	}
	for _, n := range s.Conflicts {
		out["type_conflict"] += n
	}
	for r, n := range s.Problems {
		if n > 0 {
			out[statsdproto.Reason(r).String()] = n
		}
	}
	return out
}
