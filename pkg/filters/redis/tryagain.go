package redis

import "github.com/dragoman-mesh/dragoman/pkg/redisproto"

// canSplitUp reports whether a request may be sent as several, and the replies to its
// single keys can be put together again.
func (u *upstream) canSplitUp(p *pending) bool {
	if !u.shared || p.replay == nil || p.hops >= maxHops {
		return false
	}
	_, _, ok := manyKeys(p.replay.frame)
	return ok
}

// splitAsked takes a request with several keys apart that its node has redirected for
// some of them. The other node would say TRYAGAIN if it does not have them all, and
// execute what is sent there behind it.
func (u *upstream) splitAsked(p *pending) bool {
	return u.canSplitUp(p) && u.tryLater(p, redisproto.AppendError(nil, errOnTheMove), true)
}

// splitUp answers TRYAGAIN, which a Redis Cluster gives to a command over keys
// of a slot that is on the move and of which some are here and some there: it
// asks for each key by itself, and each is then redirected or not.
func (p *pool) splitUp(item *pending) {
	name, cmd, _ := manyKeys(item.replay.frame)
	sp := splitterOf(name)
	keys := (len(cmd.Args) - 1) / sp.step
	c, w := item.c, p.w
	s := c.ring.at(item.seq)
	if s.merge == nil {
		s.merge = w.takeMerge(sp.how, 1)
		s.merge.join = sp.join
		s.merge.order = append(s.merge.order, make([]int32, keys)...)
	}
	first := s.merge.splitPart(item.part, keys)
	for i := range keys {
		one := *item
		one.hops++
		one.tries = 1
		one.deadline = c.f.deadline()
		if i > 0 {
			one.part = first + int32(i) - 1
		}
		frame := redisproto.AppendArray(nil, 1+sp.step)
		frame = redisproto.AppendBulk(frame, cmd.Arg(item.replay.frame, 0))
		for j := range sp.step {
			frame = redisproto.AppendBulk(frame, cmd.Arg(item.replay.frame, 1+i*sp.step+j))
		}
		to, reason := p.get(c)
		if to == nil {
			c.failPart(one.seq, one.part, p.unavailable(reason))
			continue
		}
		one.replay = &replay{frame: frame}
		to.send(frame, &one)
	}
}

// manyKeys parses a request that handleSplit could have split.
func manyKeys(frame []byte) (name string, cmd redisproto.Command, ok bool) {
	lim := redisproto.DefaultLimits()
	if _, err := cmd.Parse(frame, &lim); err != nil || len(cmd.Args) < 3 {
		return "", cmd, false
	}
	spec := redisproto.Lookup(cmd.Arg(frame, 0))
	if spec == nil {
		return "", cmd, false
	}
	step := splitterOf(spec.Name).step
	return spec.Name, cmd, step > 0 && len(cmd.Args) > 1+step
}

// splitPart makes as many parts of one as it has keys: the part itself, and
// others from the returned number on.
func (m *merge) splitPart(part int32, keys int) (first int32) {
	first = int32(len(m.parts))
	for range keys - 1 {
		if len(m.parts) < cap(m.parts) {
			m.parts = m.parts[:len(m.parts)+1]
			m.parts[len(m.parts)-1] = m.parts[len(m.parts)-1][:0]
		} else {
			m.parts = append(m.parts, nil)
		}
	}
	m.left += keys - 1
	seen := int32(0)
	for i, of := range m.order {
		if of != part {
			continue
		}
		if seen > 0 {
			m.order[i] = first + seen - 1
		}
		seen++
	}
	return first
}
