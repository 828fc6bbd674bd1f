package workqueue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
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
		redis: &redisClient{address: o.Address, username: o.Username, password: o.Password},
		key:   o.Key, group: o.Group, policy: o.Policy.Defaults(),
	}, nil
}

// Close ends the connection.
func (s *Stream) Close() error { return s.redis.Close() }

// List implements Source.
func (s *Stream) List(ctx context.Context, limit int) ([]string, error) {
	reply, err := s.redis.do(ctx, "XRANGE", s.key, "-", "+", "COUNT", strconv.Itoa(max(limit, 1)))
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range reply.list {
		out = append(out, e.at(0).text)
	}
	return out, nil
}

// Get implements Source.
func (s *Stream) Get(ctx context.Context, name string) (*Item, error) {
	reply, err := s.redis.do(ctx, "XRANGE", s.key, name, name)
	if err != nil && strings.Contains(err.Error(), "Invalid stream ID") || err == nil && len(reply.list) == 0 {
		return nil, fmt.Errorf("%w: %q", ErrNotFound, name)
	}
	if err != nil {
		return nil, err
	}
	return itemOf(reply.at(0))
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
		case isNoGroup(err):
			if _, err := s.redis.do(ctx, "XGROUP", "CREATE", s.key, s.group, "0", "MKSTREAM"); err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP") {
				return nil, err
			}
			continue
		case err != nil:
			return nil, err
		case entry == nil:
			return nil, s.idle(ctx)
		}
		if attempt > s.policy.Attempts {
			if err := s.bury(ctx, entry.at(0).text, "the worker vanished: its lease ran out"); err != nil {
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

func isNoGroup(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "NOGROUP") }

// claim takes over an entry whose lease has run out; nil: there is none.
func (s *Stream) claim(ctx context.Context, worker string) (*value, int, error) {
	term := strconv.FormatInt(s.policy.Term.Milliseconds(), 10)
	reply, err := s.redis.do(ctx, "XAUTOCLAIM", s.key, s.group, worker, term, "0-0", "COUNT", "1")
	if err != nil || len(reply.at(1).list) == 0 {
		return nil, 0, err
	}
	entry := reply.at(1).at(0)
	attempt, _, err := s.pending(ctx, entry.at(0).text)
	return entry, attempt, err
}

// fresh gives an entry that nobody has had; nil: there is none.
func (s *Stream) fresh(ctx context.Context, worker string) (*value, error) {
	reply, err := s.redis.do(ctx, "XREADGROUP", "GROUP", s.group, worker, "COUNT", "1", "STREAMS", s.key, ">")
	if err != nil || reply.null || len(reply.list) == 0 {
		return nil, err
	}
	return reply.at(0).at(1).at(0), nil
}

// pending gives how often an entry was delivered, and to whom; 0: it is not.
func (s *Stream) pending(ctx context.Context, name string) (attempt int, worker string, err error) {
	reply, err := s.redis.do(ctx, "XPENDING", s.key, s.group, name, name, "1")
	if err != nil || len(reply.list) == 0 {
		return 0, "", err
	}
	p := reply.at(0)
	return int(p.at(3).number), p.at(1).text, nil
}

// idle says whether anybody is at work.
func (s *Stream) idle(ctx context.Context) error {
	reply, err := s.redis.do(ctx, "XPENDING", s.key, s.group)
	if err != nil {
		return err
	}
	if reply.at(0).number > 0 {
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
	for _, field := range item.at(0).at(1).list {
		add = append(add, field.text)
	}
	return s.redis.transaction(ctx, add, []string{"XACK", s.key, s.group, name}, []string{"XDEL", s.key, name})
}

// itemOf makes an item of an entry: the field data alone if there is no other,
// else a JSON object of all fields.
func itemOf(entry *value) (*Item, error) {
	fields := map[string]string{}
	list := entry.at(1).list
	for i := 0; i+1 < len(list); i += 2 {
		fields[list[i].text] = list[i+1].text
	}
	name := entry.at(0).text
	if data, ok := fields["data"]; ok && len(fields) == 1 {
		return &Item{name, []byte(data)}, nil
	}
	data, err := marshal(fields)
	return &Item{name, data}, err
}
