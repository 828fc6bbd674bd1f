package workqueue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/probe"
)

// Stream is a queue of the entries of a Redis stream. Producers add to it by
// XADD; an entry's fields are the item's data. Leases are what Redis calls
// pending entries of a group, counted by Redis' own clock.
type Stream struct {
	// Read-only after construction.
	redis  *redisClient
	key    string
	group  string
	policy Policy
}

// StreamOptions of a Stream.
type StreamOptions struct {
	// Address is "host:port". Through an ambassador that is a port on localhost.
	Address            string
	Username, Password string
	// Key of the stream; Group of its workers, "workers" by default. Entries that
	// failed too often go to the stream Key + ":dead".
	Key, Group string
	Policy     Policy
}

// errNoKey says that a stream needs a key.
var errNoKey = errors.New("the stream has no key")

// OpenStream makes a queue of a stream. It does not connect.
func OpenStream(o StreamOptions) (*Stream, error) {
	if o.Key == "" {
		return nil, errNoKey
	}
	if o.Group == "" {
		o.Group = "workers"
	}
	return &Stream{
		redis: newRedisClient(o.Address, o.Username, o.Password),
		key:   o.Key, group: o.Group, policy: o.Policy.Defaults(),
	}, nil
}

// Close ends the connection.
func (s *Stream) Close() error {
	s.redis.close()
	return nil
}

// listPage is how many entries are asked for at once: their data comes along.
const listPage = 64

// List implements Source.
func (s *Stream) List(ctx context.Context, limit int) ([]string, error) {
	var out []string
	from, page := "-", listPage
	for {
		n := max(min(page, limit-len(out)), 1)
		reply, err := s.redis.do(ctx, "XRANGE", s.key, from, "+", "COUNT", strconv.Itoa(n))
		if errors.Is(err, probe.ErrTooLong) && n > 1 {
			page = n / 2
			continue
		}
		if err != nil {
			return nil, err
		}
		for i := range reply.Elems {
			out = append(out, text(reply, i, 0))
		}
		if len(reply.Elems) < n || len(out) >= limit {
			return out, nil
		}
		from = "(" + out[len(out)-1]
	}
}

// Get implements Source.
func (s *Stream) Get(ctx context.Context, name string) (*Item, error) {
	reply, err := s.redis.do(ctx, "XRANGE", s.key, name, name)
	if err != nil && strings.Contains(err.Error(), "Invalid stream ID") || err == nil && len(reply.Elems) == 0 {
		return nil, fmt.Errorf("%w: %q", ErrNotFound, name)
	}
	if err != nil {
		return nil, err
	}
	return itemOf(at(reply, 0))
}

// Lease implements Queue: what ran out comes before what is new.
func (s *Stream) Lease(ctx context.Context, worker string) (*Lease, error) {
	for {
		entry, attempt, err := s.claim(ctx, worker)
		if err == nil && entry == nil {
			entry, err = s.fresh(ctx, worker)
			attempt = 1
		}
		switch {
		case probe.HasCode(err, "NOGROUP"):
			if _, err := s.redis.do(ctx, "XGROUP", "CREATE", s.key, s.group, "0", "MKSTREAM"); err != nil && !probe.HasCode(err, "BUSYGROUP") {
				return nil, err
			}
			continue
		case err != nil:
			return nil, err
		case entry == nil:
			return nil, s.idle(ctx)
		}
		if attempt > s.policy.Attempts {
			if err := s.bury(ctx, text(entry, 0), "the worker vanished: its lease ran out"); err != nil {
				return nil, err
			}
			continue
		}
		item, err := itemOf(entry)
		if err != nil {
			return nil, err
		}
		return &Lease{Item: *item, ID: leaseID(item.Name, worker, attempt), Attempt: attempt, Expires: time.Now().Add(s.policy.Term)}, nil
	}
}

func leaseID(name, worker string, attempt int) string {
	return name + "~" + strconv.Itoa(attempt) + "~" + worker
}

// claim takes over an entry whose lease has run out; nil: there is none.
func (s *Stream) claim(ctx context.Context, worker string) (*redisproto.Value, int, error) {
	term := strconv.FormatInt(s.policy.Term.Milliseconds(), 10)
	reply, err := s.redis.do(ctx, "XAUTOCLAIM", s.key, s.group, worker, term, "0-0", "COUNT", "1")
	if err != nil || len(at(reply, 1).Elems) == 0 {
		return nil, 0, err
	}
	entry := at(reply, 1, 0)
	attempt, _, err := s.pending(ctx, text(entry, 0))
	return entry, attempt, err
}

// fresh gives an entry that nobody has had; nil: there is none.
func (s *Stream) fresh(ctx context.Context, worker string) (*redisproto.Value, error) {
	reply, err := s.redis.do(ctx, "XREADGROUP", "GROUP", s.group, worker, "COUNT", "1", "STREAMS", s.key, ">")
	if err != nil || len(reply.Elems) == 0 {
		return nil, err
	}
	return at(reply, 0, 1, 0), nil
}

// pending gives how often an entry was delivered, and to whom; 0: it is not.
func (s *Stream) pending(ctx context.Context, name string) (attempt int, worker string, err error) {
	reply, err := s.redis.do(ctx, "XPENDING", s.key, s.group, name, name, "1")
	if err != nil || len(reply.Elems) == 0 {
		return 0, "", err
	}
	return int(at(reply, 0, 3).Int), text(reply, 0, 1), nil
}

// idle says whether anybody is at work.
func (s *Stream) idle(ctx context.Context) error {
	reply, err := s.redis.do(ctx, "XPENDING", s.key, s.group)
	if err != nil {
		return err
	}
	if at(reply, 0).Int > 0 {
		return ErrEmpty
	}
	return ErrDrained
}

// Settle implements Queue. The attempt in a lease's ID is Redis' count of
// deliveries: another count means that it is another's lease by now.
func (s *Stream) Settle(ctx context.Context, id string, r Result) error {
	name, attempt, err := parse(id)
	if err != nil {
		return fmt.Errorf("%w: %q is no lease", ErrLost, id)
	}
	worker := strings.SplitN(id, "~", 3)
	now, holder, err := s.pending(ctx, name)
	switch {
	case err != nil:
		return err
	case now != attempt || len(worker) != 3 || holder != worker[2]:
		return fmt.Errorf("%w: %q", ErrLost, name)
	}
	switch {
	case r.Outcome == Done:
		return s.remove(ctx, name)
	case r.Outcome == Failed && attempt >= s.policy.Attempts:
		return s.bury(ctx, name, r.Reason)
	case r.Outcome == Failed:
		// As idle as to be claimed after the pause.
		idle := max(0, s.policy.Term-s.policy.after(attempt))
		return s.touch(ctx, name, holder, idle)
	}
	return s.touch(ctx, name, holder, 0)
}

// touch says for how long a pending entry has been idle, and counts no delivery.
func (s *Stream) touch(ctx context.Context, name, worker string, idle time.Duration) error {
	_, err := s.redis.do(ctx, "XCLAIM", s.key, s.group, worker, "0", name, "IDLE", strconv.FormatInt(idle.Milliseconds(), 10), "JUSTID")
	return err
}

// remove forgets an entry, at once for all.
func (s *Stream) remove(ctx context.Context, name string) error {
	return s.redis.transaction(ctx, []string{"XACK", s.key, s.group, name}, []string{"XDEL", s.key, name})
}

// bury moves an entry aside.
func (s *Stream) bury(ctx context.Context, name, reason string) error {
	item, err := s.redis.do(ctx, "XRANGE", s.key, name, name)
	if err != nil {
		return err
	}
	add := []string{"XADD", s.key + ":dead", "*", "dragoman-item", name, "dragoman-reason", reason}
	for i := range at(item, 0, 1).Elems {
		add = append(add, text(item, 0, 1, i))
	}
	return s.redis.transaction(ctx, add, []string{"XACK", s.key, s.group, name}, []string{"XDEL", s.key, name})
}

// itemOf makes an item of an entry: the field data alone if there is no other,
// else a JSON object of all fields.
func itemOf(entry *redisproto.Value) (*Item, error) {
	name, list := text(entry, 0), at(entry, 1)
	fields := map[string]string{}
	for i := 0; i+1 < len(list.Elems); i += 2 {
		value := text(list, i+1)
		if len(value) > MaxItem {
			return nil, fmt.Errorf("entry %q: %w", name, errTooLarge)
		}
		fields[text(list, i)] = value
	}
	if data, ok := fields["data"]; ok && len(fields) == 1 {
		return &Item{name, []byte(data)}, nil
	}
	data, err := json.Marshal(fields)
	return &Item{name, data}, err
}
