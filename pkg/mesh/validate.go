package mesh

import (
	"cmp"
	"fmt"
	"net/netip"
	"path"
	"strconv"
	"strings"
)

// Validate checks objects against each other, and those that came from no
// document each by itself as well. Objects may come from several calls of
// Decode.
func Validate(objs []Object, opts ...Option) Errors {
	o := collect(opts)
	var errs Errors
	for _, obj := range objs {
		if !obj.source().checked {
			errs = append(errs, check(obj, o)...)
		}
	}
	errs = append(errs, duplicates(objs)...)
	if !o.services {
		// In a cluster selectors decide which listeners meet in one pod, and what an
		// object names may come later.
		errs = append(errs, shared(objs)...)
		errs = append(errs, strays(objs)...)
	}
	return errs.sorted()
}

// check looks at one object by itself.
func check(obj Object, o options) Errors {
	switch obj := obj.(type) {
	case *Ambassador:
		return checkAmbassador(obj, o)
	case *Adapter:
		return checkAdapter(obj, o)
	}
	return nil
}

// duplicates finds objects of the same kind and name. Those of different kinds
// may share one, as in Kubernetes.
func duplicates(objs []Object) Errors {
	var errs Errors
	first := make(map[string]Object, len(objs))
	for _, obj := range objs {
		if obj.Meta().Name == "" {
			continue
		}
		name := KindOf(obj) + " " + obj.Key()
		if other, ok := first[name]; ok {
			errs = append(errs, errorAt(obj, "metadata.name",
				fmt.Sprintf("there are two objects %s", obj.Key()), "the other is "+whereIs(other, "metadata.name")))
			continue
		}
		first[name] = obj
	}
	return errs
}

// shared finds what only one object of a process can have: listeners that cannot
// both be bound, and files of positions.
func shared(objs []Object) Errors {
	var errs Errors
	for i, obj := range objs {
		for _, earlier := range objs[:i] {
			if earlier.Key() == obj.Key() && KindOf(earlier) == KindOf(obj) {
				continue
			}
			if clash, at, there := meet(obj, earlier, false); clash != ClashNone {
				errs = append(errs, errorAt(obj, at, clash.String()+" as "+earlier.Key(), "which is "+whereIs(earlier, there)))
				break
			}
		}
	}
	return errs
}

// place is where an object binds.
type place struct {
	at       string // path of the field
	datagram bool
	Listen
}

// Clash is why two objects cannot be in one proxy.
type Clash uint8

// The clashes.
const (
	ClashNone      Clash = iota
	ClashListen          // they ask for the same place to listen
	ClashPositions       // they keep the positions of their logs in the same file
)

// String is what the second object does, up to "as" and the first one.
func (c Clash) String() string {
	switch c {
	case ClashListen:
		return "binds to the same place"
	case ClashPositions:
		return "keeps its positions in the same file"
	case ClashNone:
	}
	return "does not clash"
}

// Meet says whether two objects cannot be in one proxy, and why. In a cluster
// metrics are shown on all addresses unless one is given.
func Meet(a, b Object, inCluster bool) Clash {
	clash, _, _ := meet(a, b, inCluster)
	return clash
}

// meet gives the paths of the two fields as well.
func meet(a, b Object, inCluster bool) (clash Clash, at, there string) {
	for _, p := range places(a, inCluster) {
		for _, q := range places(b, inCluster) {
			if p.datagram == q.datagram && p.Overlaps(&q.Listen) {
				return ClashListen, p.at, q.at
			}
		}
	}
	if file := positionsOf(a); file != "" && file == positionsOf(b) {
		return ClashPositions, positionsField, positionsField
	}
	return ClashNone, "", ""
}

const positionsField = "spec.logs.positions"

// positionsOf is the file where a logs adapter keeps its positions; "": none.
func positionsOf(obj Object) string {
	a, ok := obj.(*Adapter)
	if !ok || a.Spec.Logs == nil {
		return ""
	}
	if file := a.Spec.Logs.LogPositions(&a.Metadata); file != "" {
		return path.Clean(file)
	}
	return ""
}

func places(obj Object, inCluster bool) []place {
	switch obj := obj.(type) {
	case *Ambassador:
		list := []place{{at: "spec.listen", Listen: obj.Spec.Listen}}
		for _, l := range obj.Spec.Listeners()[1:] {
			list = append(list, place{at: "spec.readOnly", Listen: l})
		}
		return list
	case *Adapter:
		if obj.Spec.API != nil {
			return []place{{at: "spec.api.listen", Listen: obj.Spec.API.Listen}}
		}
		if obj.Spec.Metrics != nil {
			return metricsPlaces(obj.Spec.Metrics, inCluster)
		}
	}
	return nil
}

// Ports lists the ports on which an object has a proxy listen.
func Ports(obj Object) (tcp, udp []uint32) {
	for _, p := range places(obj, true) {
		switch {
		case p.Port == 0: // a path
		case p.datagram:
			udp = append(udp, p.Port)
		default:
			tcp = append(tcp, p.Port)
		}
	}
	return tcp, udp
}

func metricsPlaces(m *MetricsAdapter, inCluster bool) []place {
	address := m.Listen.Address
	if inCluster {
		address = cmp.Or(address, "0.0.0.0")
	}
	list := []place{{at: "spec.metrics.listen", Listen: Listen{Address: address, Port: m.Listen.Port}}}
	for i := range m.Sources {
		s, at := &m.Sources[i], fmt.Sprintf("spec.metrics.sources[%d]", i)
		var events *EventListen
		switch {
		case s.StatsD != nil:
			events, at = &s.StatsD.EventListen, at+".statsd"
		case s.Graphite != nil:
			events, at = &s.Graphite.EventListen, at+".graphite"
		case s.Influx != nil:
			events, at = &s.Influx.EventListen, at+".influx"
			list = append(list, place{at: at + ".http", Listen: Listen{Address: events.Address, Port: s.Influx.HTTP}})
		default:
			continue
		}
		list = append(list,
			place{at: at + ".tcp", Listen: Listen{Address: events.Address, Port: events.TCP}},
			place{at: at + ".udp", datagram: true, Listen: Listen{Address: events.Address, Port: events.UDP}})
		if events.Unixgram != "" {
			list = append(list, place{at: at + ".unixgram", datagram: true, Listen: Listen{Path: events.Unixgram}})
		}
	}
	return list
}

// Overlaps reports whether two listeners cannot bind side by side.
func (l *Listen) Overlaps(other *Listen) bool {
	if l.Path != "" || other.Path != "" {
		return l.Path == other.Path
	}
	if l.Port == 0 || l.Port != other.Port {
		return false
	}
	mine, err1 := netip.ParseAddr(cmp.Or(l.Address, "127.0.0.1"))
	theirs, err2 := netip.ParseAddr(cmp.Or(other.Address, "127.0.0.1"))
	if err1 != nil || err2 != nil {
		return false
	}
	if mine == netip.IPv6Unspecified() || theirs == netip.IPv6Unspecified() {
		return true // it takes IPv4 too
	}
	return mine == theirs || mine.Is4() == theirs.Is4() && (mine.IsUnspecified() || theirs.IsUnspecified())
}

// takes reports whether who connects to an address on the listener's host comes to
// the listener.
func (l *Listen) takes(address string) bool {
	host, port, path, err := SplitAddress(address)
	if err != nil || path != "" || l.Path != "" {
		return path != "" && path == l.Path
	}
	mine, err := netip.ParseAddr(cmp.Or(l.Address, "127.0.0.1"))
	if err != nil || port != l.Port {
		return false
	}
	loopback4 := netip.AddrFrom4([4]byte{127, 0, 0, 1}) // others of 127.0.0.0/8 may be somebody else's
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return mine == loopback4 || mine == netip.IPv6Loopback() || mine.IsUnspecified()
	}
	target, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	switch { // who connects to the unspecified address comes to the family's loopback address
	case target == netip.IPv4Unspecified():
		target = loopback4
	case target == netip.IPv6Unspecified():
		target = netip.IPv6Loopback()
	}
	if mine.IsUnspecified() {
		return target.IsLoopback() && (mine.Is6() || target.Is4())
	}
	return mine == target
}

func errorAt(obj Object, path, reason, hint string) *Error {
	src := obj.source()
	at := src.at(path)
	return &Error{
		File: src.file, Line: at.line, Column: at.column, Object: obj.Key(),
		Path: path, Reason: reason, Hint: hint,
	}
}

func whereIs(obj Object, path string) string {
	src := obj.source()
	if src.file == "" {
		return obj.Key()
	}
	return src.file + ":" + strconv.Itoa(src.at(path).line)
}
