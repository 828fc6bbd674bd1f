package redisproto

import "errors"

// ErrKeys says that the keys of a request cannot be told, because its number of
// keys is no number or there are not as many arguments. A server answers such a
// request with an error of its own.
var ErrKeys = errors.New("redisproto: the arguments do not fit the command's key specification")

// FirstKeyIndex returns the argument that is the command's only key, or 0 if
// its keys are several, none, or not at a constant place.
func (s *Spec) FirstKeyIndex() int {
	if len(s.KeySpecs) != 1 {
		return 0
	}
	k := &s.KeySpecs[0]
	if k.Begin != BeginIndex || k.Find != FindRange || k.Last != 0 || k.Flags&(KeyNotKey|KeyIncomplete) != 0 {
		return 0
	}
	if s.override() != nil {
		return 0
	}
	return int(k.Pos)
}

// AppendKeys appends the indexes of the arguments of c that are keys, in the
// order of the key specifications. For a container such as OBJECT it looks at
// the subcommand. b is what c was parsed from; of a request that is not whole
// only the arguments that are there are seen. It returns dst and ErrKeys if the
// keys cannot be told.
func (s *Spec) AppendKeys(c *Command, b []byte, dst []int) ([]int, error) {
	if len(s.Sub) > 0 && len(c.Args) > 1 {
		if sub := s.Subcommand(c.Arg(b, 1)); sub != nil {
			s = sub
		}
	}
	if find := s.override(); find != nil {
		return find(c, b, dst)
	}
	keys := dst
	for i := range s.KeySpecs {
		k := &s.KeySpecs[i]
		if k.Flags&KeyNotKey != 0 {
			continue
		}
		var ok bool
		if keys, ok = k.appendKeys(c, b, keys); !ok {
			return dst, ErrKeys
		}
	}
	return keys, nil
}

func (k *KeySpec) appendKeys(c *Command, b []byte, dst []int) (keys []int, ok bool) {
	argc := len(c.Args)
	first := int(k.Pos)
	if k.Begin == BeginKeyword {
		if first = k.findKeyword(c, b); first < 0 {
			return dst, true
		}
	}
	step := int(k.Step)
	var last int
	switch {
	case k.Begin == BeginUnknown || k.Find == FindUnknown || step <= 0:
		return dst, true
	case k.Find == FindKeynum:
		count, ok := keyCount(c, b, first+int(k.NumKeys))
		if !ok || count > argc {
			return dst, false
		}
		if count == 0 {
			return dst, true
		}
		first += int(k.First)
		last = first + (count-1)*step
	case k.Last >= 0:
		last = first + int(k.Last)
	case k.Limit > 1:
		last = first + (argc-first)/int(k.Limit) + int(k.Last)
	default:
		last = argc + int(k.Last)
	}
	if first < 1 || last < first || last >= argc {
		return dst, false
	}
	for i := first; i <= last; i += step {
		dst = append(dst, i)
	}
	return dst, true
}

// findKeyword returns the argument after the keyword, or -1.
func (k *KeySpec) findKeyword(c *Command, b []byte) int {
	argc := len(c.Args)
	if k.Pos < 0 {
		for i := min(argc+int(k.Pos), argc-1); i > 0; i-- {
			if equalFold(k.Keyword, c.Arg(b, i)) {
				return i + 1
			}
		}
		return -1
	}
	for i := int(k.Pos); i < argc; i++ {
		if equalFold(k.Keyword, c.Arg(b, i)) {
			return i + 1
		}
	}
	return -1
}

// keyCount reads argument i as a number of keys.
func keyCount(c *Command, b []byte, i int) (n int, ok bool) {
	if i < 1 || i >= len(c.Args) {
		return 0, false
	}
	arg := c.Arg(b, i)
	if len(arg) == 0 || len(arg) > 9 || (arg[0] == '0' && len(arg) > 1) {
		return 0, false
	}
	for _, ch := range arg {
		if ch < '0' || ch > '9' {
			return 0, false
		}
		n = n*10 + int(ch-'0')
	}
	return n, true
}
