package redisproto

// Arg is where one argument of a request lies.
type Arg struct {
	Off int // bytes from the frame's first byte
	Len int // bytes
}

type parseState uint8

const (
	atStart  parseState = iota // nothing seen
	inInline                   // in a line that is no multibulk
	atHeader                   // before a bulk's header line
	inBulk                     // header read, payload not whole
	complete                   // Parse has returned the frame
)

// keepArgs and keepScratch bound the memory that Reset keeps for the next
// request, so that one huge request does not cost an idle connection its size.
const (
	keepArgs    = 1024
	keepScratch = 16 << 10
)

// Command is one request found in a buffer. The zero value is ready for the
// first Parse; Reset makes it ready for the next frame.
type Command struct {
	// Args are the arguments that are whole so far, the command's name first.
	// For an inline request their offsets mean Command's own memory: use Arg.
	Args []Arg

	state   parseState
	inline  bool
	argc    int    // declared count of the multibulk
	pos     int    // first byte not yet parsed; in an inline, not yet searched
	bulk    int    // payload bytes of the bulk that begins at pos
	total   int64  // see Total
	need    int64  // see Need
	scratch []byte // unquoted arguments of an inline request
}

// Parse continues on b, whose first byte is the first byte of the frame and
// which begins with what the previous call saw; only offsets are kept between
// calls. It returns the frame's length, or ErrIncomplete when b ends before the
// frame does, or a *ProtocolError. An empty line and a multibulk of zero or
// fewer elements are whole frames without arguments. After anything but
// ErrIncomplete, call Reset before the next Parse.
func (c *Command) Parse(b []byte, lim *Limits) (n int, err error) {
	switch c.state {
	case atStart:
		if len(b) == 0 {
			return 0, c.incomplete(b, 1)
		}
		if b[0] != '*' {
			c.state, c.inline = inInline, true
			return c.parseInline(b, lim)
		}
		if err := c.parseCount(b, lim); err != nil {
			return 0, err
		}
	case inInline:
		return c.parseInline(b, lim)
	case complete:
		return c.pos, nil
	}
	return c.parseBulks(b, lim)
}

func (c *Command) parseCount(b []byte, lim *Limits) error {
	count, next := parseLine(b, 1)
	switch {
	case next == lineIncomplete:
		return c.incomplete(b, 1)
	case next == lineMalformed, count > int64(lim.MaxArgs):
		return &ProtocolError{Reason: "invalid multibulk length"}
	}
	c.argc = int(max(count, 0))
	c.pos = next
	c.state = atHeader
	return nil
}

func (c *Command) parseBulks(b []byte, lim *Limits) (int, error) {
	pos, args := c.pos, c.Args
	for len(args) < c.argc {
		if c.state == atHeader {
			if pos >= len(b) {
				return 0, c.suspend(b, pos, args, 1)
			}
			if b[pos] != '$' {
				return 0, expectedBulk(b[pos])
			}
			size, next := parseLine(b, pos+1)
			if next == lineIncomplete {
				return 0, c.suspend(b, pos, args, 1)
			}
			if next == lineMalformed || size < 0 || size > lim.MaxBulk {
				return 0, &ProtocolError{Reason: "invalid bulk length"}
			}
			pos, c.bulk = next, int(size)
		}
		end := pos + c.bulk
		if end+2 > len(b) {
			c.state = inBulk
			return 0, c.suspend(b, pos, args, int64(end+2-len(b)))
		}
		if b[end] != '\r' || b[end+1] != '\n' {
			return 0, &ProtocolError{Reason: "expected CRLF after bulk"}
		}
		args = append(args, Arg{Off: pos, Len: c.bulk})
		pos = end + 2
		c.state = atHeader
	}
	c.pos, c.Args, c.state = pos, args, complete
	return pos, nil
}

func (c *Command) suspend(b []byte, pos int, args []Arg, need int64) error {
	c.pos, c.Args = pos, args
	return c.incomplete(b, need)
}

func (c *Command) incomplete(b []byte, need int64) error {
	c.need, c.total = need, int64(len(b))+need
	return ErrIncomplete
}

func expectedBulk(got byte) error {
	return &ProtocolError{Reason: "expected '$', got '" + printable(got) + "'"}
}

// printable keeps a reply that quotes the byte on one line.
func printable(c byte) string {
	if c < ' ' || c > '~' {
		return "?"
	}
	return string(rune(c))
}

// Need returns, after ErrIncomplete, how many bytes more the frame has at
// least: the rest of the bulk with its CRLF, or 1.
func (c *Command) Need() int64 { return c.need }

// Total returns, after ErrIncomplete, how many bytes the frame has at least,
// those already there included. Inside a bulk that is the offset of the end of
// its CRLF; when it is the last argument, the frame's length.
func (c *Command) Total() int64 { return c.total }

// InBulk reports, after ErrIncomplete, whether the missing bytes belong to a
// bulk whose length is known. Its index is len(Args).
func (c *Command) InBulk() bool { return c.state == inBulk }

// NumArgs returns how many arguments the request has declared: len(Args) or
// more, 0 before the count was read. So a request can be routed by its first
// arguments while a large one is still on its way.
func (c *Command) NumArgs() int { return c.argc }

// Inline reports whether the request is a line instead of a multibulk.
func (c *Command) Inline() bool { return c.inline }

// Arg returns argument i of the request that begins at b[0]. It is valid until
// b is overwritten or Reset is called.
func (c *Command) Arg(b []byte, i int) []byte {
	a := c.Args[i]
	if c.inline {
		b = c.scratch
	}
	return b[a.Off : a.Off+a.Len : a.Off+a.Len]
}

// AppendTo appends the request as a multibulk of bulks, the only form that is
// sent upstream. A request without arguments appends nothing.
func (c *Command) AppendTo(dst, b []byte) []byte {
	if len(c.Args) == 0 {
		return dst
	}
	dst = AppendArray(dst, len(c.Args))
	for i := range c.Args {
		dst = AppendBulk(dst, c.Arg(b, i))
	}
	return dst
}

// Reset makes c ready for the next frame. It keeps memory, unless a request
// was so large that keeping it would be a waste.
func (c *Command) Reset() {
	args, scratch := c.Args[:0], c.scratch[:0]
	if cap(args) > keepArgs {
		args = nil
	}
	if cap(scratch) > keepScratch {
		scratch = nil
	}
	*c = Command{Args: args, scratch: scratch}
}
