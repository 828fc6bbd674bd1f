// Package push is what sources have in common to which an app sends its latest
// values in lines: where they listen, and the values.
package push

import (
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/families"
)

// Store keeps the latest value of each series. Its methods may be called from any
// goroutine.
type Store struct {
	limit int
	ttl   time.Duration

	mu sync.Mutex
	// mu guards below
	series   map[string]*series // by name and labels
	families map[string]*family // by name
	key      []byte
	looked   time.Time // for series whose time is over, because there was no room
}

type series struct {
	family *family
	labels []*dto.LabelPair
	value  float64
	at     time.Time
	ttl    time.Duration // 0: as the store has it
}

// family is what series of one name have in common; those of the first of them
// count.
type family struct {
	name, help string
	typ        dto.MetricType
	series     int
}

// Sample is a value of a series.
type Sample struct {
	Name   string
	Help   string
	Type   dto.MetricType // of gauge, counter and untyped
	Labels []string       // name, value, name, value, by name
	Value  float64
	TTL    time.Duration // 0: as the store has it
}

// NewStore makes a store; ttl 0 is forever, limit 0 families.DefaultLimit.
func NewStore(limit int, ttl time.Duration) *Store {
	if limit <= 0 {
		limit = families.DefaultLimit
	}
	return &Store{limit: limit, ttl: ttl, series: make(map[string]*series), families: make(map[string]*family)}
}

// Set keeps a value, and is false if there is no room for another series. What comes
// last stays: the clock may have been set back.
func (s *Store) Set(v *Sample, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.findLocked(v, now)
	if found != nil {
		found.value, found.at, found.ttl = v.Value, now, v.TTL
	}
	return found != nil
}

// setOlder keeps a value of a while ago, unless there is one that came later.
func (s *Store) setOlder(v *Sample, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found := s.findLocked(v, at); found != nil && !at.Before(found.at) {
		found.value, found.at, found.ttl = v.Value, at, v.TTL
	}
}

// findLocked finds a series or makes it, nil if there is no room.
func (s *Store) findLocked(v *Sample, now time.Time) *series {
	s.key = append(append(s.key[:0], v.Name...), 0xff)
	for _, l := range v.Labels {
		s.key = append(append(s.key, l...), 0xff) // in no text of UTF-8
	}
	if found := s.series[string(s.key)]; found != nil {
		return found
	}
	if len(s.series) >= s.limit && !s.makeRoomLocked(now) {
		return nil
	}
	made := s.newLocked(v)
	s.series[string(s.key)] = made
	return made
}

func (s *Store) newLocked(v *Sample) *series {
	f := s.families[v.Name]
	if f == nil {
		f = &family{name: v.Name, help: v.Help, typ: v.Type}
		s.families[v.Name] = f
	}
	f.series++
	return &series{family: f, labels: families.Labels(append([]string(nil), v.Labels...)...)}
}

// makeRoomLocked looks for series whose time is over, not for each line of an app that
// sends too many.
func (s *Store) makeRoomLocked(now time.Time) bool {
	if since := now.Sub(s.looked); since >= 0 && since < time.Second {
		return false
	}
	s.looked = now
	return s.expireLocked(now)
}

// expireLocked forgets series that got nothing for too long, and reports whether
// there were any.
func (s *Store) expireLocked(now time.Time) bool {
	before := len(s.series)
	for key, v := range s.series {
		ttl := v.ttl
		if ttl == 0 {
			ttl = s.ttl
		}
		if ttl > 0 && now.Sub(v.at) > ttl {
			delete(s.series, key)
			if v.family.series--; v.family.series == 0 {
				delete(s.families, v.family.name)
			}
		}
	}
	return len(s.series) < before
}

// Gather gives the series that are alive.
func (s *Store) Gather(now time.Time) ([]*dto.MetricFamily, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expireLocked(now)
	b := &families.Builder{Limit: s.limit}
	for _, v := range s.series {
		b.Family(v.family.name, v.family.help, v.family.typ).Add(v.value, v.labels)
	}
	return b.Done()
}
