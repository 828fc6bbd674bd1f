package redisproto

// keyFinder is AppendKeys for one command.
type keyFinder func(c *Command, b []byte, dst []int) ([]int, error)

// override returns the rule for a command whose key specifications are not
// enough; a server has a function of its own for most of them:
//
//   - sort: STORE may stand anywhere behind the key; sort_ro has none. Keys that BY
//     and GET make from patterns depend on data; see AppendPatterns.
//   - georadius, georadiusbymember: STORE and STOREDIST may be repeated.
//   - migrate: the keys after KEYS count if the third argument is empty.
//   - xread, xreadgroup: STREAMS may also be a value before the real keyword.
//   - json.mget, cms.merge: the published specifications have the first key only.
func (s *Spec) override() keyFinder {
	if !s.Has(MovableKeys | Module) {
		return nil
	}
	switch s.Name {
	case "sort":
		return sortKeys
	case "sort_ro":
		return sortROKeys
	case "georadius":
		return geoRadiusKeys
	case "georadiusbymember":
		return geoRadiusByMemberKeys
	case "migrate":
		return migrateKeys
	case "xread", "xreadgroup":
		return streamKeys
	case "json.mget":
		return jsonMGetKeys
	case "cms.merge":
		return cmsMergeKeys
	}
	return nil
}

// SORT key [BY pattern] [LIMIT offset count] [GET pattern ...] [ASC|DESC]
// [ALPHA] [STORE destination]
func sortKeys(c *Command, b []byte, dst []int) ([]int, error) {
	argc := len(c.Args)
	if argc < 2 {
		return dst, ErrKeys
	}
	store := 0
	for i := 2; i < argc; i++ {
		switch arg := c.Arg(b, i); {
		case equalFold("limit", arg):
			i += 2
		case equalFold("by", arg), equalFold("get", arg):
			i++
		case equalFold("store", arg) && i+1 < argc:
			i++
			store = i
		}
	}
	dst = append(dst, 1)
	if store > 0 {
		dst = append(dst, store)
	}
	return dst, nil
}

// GEORADIUS key longitude latitude radius unit [options]
func geoRadiusKeys(c *Command, b []byte, dst []int) ([]int, error) {
	return geoStoreKeys(c, b, dst, 6)
}

// GEORADIUSBYMEMBER key member radius unit [options]
func geoRadiusByMemberKeys(c *Command, b []byte, dst []int) ([]int, error) {
	return geoStoreKeys(c, b, dst, 5)
}

func geoStoreKeys(c *Command, b []byte, dst []int, options int) ([]int, error) {
	argc := len(c.Args)
	if argc < 2 {
		return dst, ErrKeys
	}
	dst = append(dst, 1)
	for i := options; i+1 < argc; i++ {
		if arg := c.Arg(b, i); equalFold("store", arg) || equalFold("storedist", arg) {
			i++
			dst = append(dst, i)
		}
	}
	return dst, nil
}

// MIGRATE host port key|"" db timeout [COPY] [REPLACE] [AUTH password |
// AUTH2 username password] [KEYS key ...]
func migrateKeys(c *Command, b []byte, dst []int) ([]int, error) {
	argc := len(c.Args)
	if argc < 4 {
		return dst, ErrKeys
	}
	if len(c.Arg(b, 3)) > 0 {
		return append(dst, 3), nil
	}
	for i := 6; i < argc; i++ {
		switch arg := c.Arg(b, i); {
		case equalFold("auth", arg):
			i++
		case equalFold("auth2", arg):
			i += 2
		case equalFold("keys", arg):
			return appendRange(dst, i+1, argc-1), nil
		}
	}
	return append(dst, 3), nil
}

// XREAD [COUNT n] [BLOCK ms] STREAMS key ... id ...
// XREADGROUP GROUP group consumer [COUNT n] [BLOCK ms] [CLAIM ms] [NOACK]
// STREAMS key ... id ...
func streamKeys(c *Command, b []byte, dst []int) ([]int, error) {
	argc := len(c.Args)
	for i := 1; i < argc; i++ {
		switch arg := c.Arg(b, i); {
		case equalFold("count", arg), equalFold("block", arg), equalFold("claim", arg):
			i++
		case equalFold("group", arg):
			i += 2
		case equalFold("noack", arg):
		case equalFold("streams", arg):
			rest := argc - i - 1
			if rest == 0 || rest%2 != 0 {
				return dst, ErrKeys
			}
			return appendRange(dst, i+1, i+rest/2), nil
		default:
			return dst, ErrKeys
		}
	}
	return dst, ErrKeys
}

// JSON.MGET key [key ...] path
func jsonMGetKeys(c *Command, _ []byte, dst []int) ([]int, error) {
	argc := len(c.Args)
	if argc < 3 {
		return dst, ErrKeys
	}
	return appendRange(dst, 1, argc-2), nil
}

// CMS.MERGE destination numkeys source [source ...] [WEIGHTS weight ...]
func cmsMergeKeys(c *Command, b []byte, dst []int) ([]int, error) {
	count, ok := keyCount(c, b, 2)
	if !ok || count > len(c.Args)-3 {
		return dst, ErrKeys
	}
	return appendRange(append(dst, 1), 3, 2+count), nil
}

func appendRange(dst []int, first, last int) []int {
	for i := first; i <= last; i++ {
		dst = append(dst, i)
	}
	return dst
}
