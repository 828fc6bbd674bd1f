package mysqlproto

// Tracker is told the messages of a session in both directions, from the first
// command on, and knows where each response ends. It never looks into rows: for
// most messages the head is all it needs.
//
// A message is to be told before it is forwarded, and where both directions have
// something to tell, the client's first: a server never answers what it has not
// got. Of the server's messages it may need some bytes: Want says how many.
//
// Clients may send several commands at once (MariaDB's do). What a client may
// not do, such as to send a command into its own file upload, makes the Tracker
// err to "busy".
type Tracker struct {
	// Read-only after construction.
	eofs bool // EOF packets stand after columns: no DeprecateEOF
	meta bool // a count of columns says whether they follow

	state   trackerState
	columns int     // still to come in this state
	params  int     // COM_STMT_PREPARE: what follows the parameters is columns
	queue   []call  // that the server has not begun with, after current
	silent  int     // of those, how many it does not answer
	current Command // being answered
	status  Status
	cursors cursors
	unsure  bool // an error came since status was told
	ended   bool // COM_QUIT came
	lost    bool // the client has broken the protocol
	upload  bool // the client is sending a file
	file    bool // the server has asked for a file, and said nothing since
	errors  int
}

type trackerState uint8

const (
	idle          trackerState = iota
	response                   // the next message begins a response
	simple                     // the next message is the response
	single                     // the next message is the response, whatever it begins with
	prepared                   // the next message is COM_STMT_PREPARE's
	parameters                 // descriptions of parameters
	parametersEOF              // the EOF behind them
	columns                    // descriptions of columns
	columnsEOF
	preparedColumns // those of COM_STMT_PREPARE, which no rows follow
	preparedEOF
	rows
	authentication // COM_CHANGE_USER
	streaming      // a copy of the log: no commands come in between
)

// wantOK is enough for the head of an OK packet: its first byte, two integers of
// 9 bytes, status and warnings.
const wantOK = 1 + 9 + 9 + 2 + 2

// NewTracker returns the Tracker of a session with the given capabilities, those
// that both sides have, and the status that the OK of its handshake told.
func NewTracker(caps Capabilities, status Status) *Tracker {
	return &Tracker{
		eofs:   !caps.Has(DeprecateEOF),
		meta:   caps&(OptionalMetadata|MariaDBCacheMetadata) != 0,
		status: status,
	}
}

// Client is told the head of a message from the client and, of a command that
// names a prepared statement, as many bytes of its payload as StatementHead says.
func (t *Tracker) Client(h Head, payload []byte) {
	switch {
	case t.upload:
		if h.Len == 0 {
			t.upload = false
		}
		return
	case t.state == authentication, t.state == streaming:
		return
	case h.Len == 0:
		t.lost = true
		return
	}
	c := callOf(h, payload)
	switch {
	case c.command == ComQuit:
		t.ended = true
	case !c.command.responds() && c.command != ComStmtClose:
	case t.state == idle:
		t.begin(c)
	default:
		t.queue = append(t.queue, c)
		if !c.command.responds() {
			t.silent++
		}
	}
}

// begin awaits the response to a command, if it has one.
func (t *Tracker) begin(c call) {
	t.cursors.begin(c)
	if !c.command.responds() {
		return
	}
	t.current = c.command
	switch c.command {
	case ComQuery, ComStmtExecute, ComStmtBulkExecute, ComProcessInfo:
		t.state = response
	case ComStmtPrepare:
		t.state = prepared
	case ComStmtFetch, ComFieldList:
		t.state = rows
	case ComChangeUser:
		t.state = authentication
	case ComBinlogDump, ComBinlogDumpGTID, ComTableDump, ComClone, ComGroupReplication:
		t.state = streaming
	case ComStatistics:
		t.state = single
	default:
		t.state = simple
	}
}

// Want returns how many bytes of the payload of a message from the server Server
// needs: none of those that only have to be counted. A message that is an OK
// may be gathered further for what it tells of the session.
func (t *Tracker) Want(h Head) int {
	if h.First != headerErr {
		switch t.state {
		case parameters, columns, preparedColumns, single:
			return 0
		case rows, streaming:
			if !t.ends(h) {
				return 0
			}
		}
	}
	return min(h.Len, wantOK)
}

// ends reports whether a message among rows is their end.
func (t *Tracker) ends(h Head) bool {
	return h.First == headerEOF && (h.Len < maxEOF || !t.eofs && h.Len < MaxPayload)
}

// InRows reports that the server is sending rows, so that Framer.Next may pass
// by those messages that can't be their end.
func (t *Tracker) InRows() bool { return t.state == rows }

// Server is told the head of a message from the server, and as many bytes of its
// payload as Want says. end says that with it the response to a command ends. An
// error is a *ProtocolError.
func (t *Tracker) Server(h Head, payload []byte) (end bool, err error) {
	t.file = false
	if h.First == headerErr {
		return t.serverError(payload)
	}
	switch t.state {
	case idle:
		return false, malformed("server speaks without having been asked")
	case response:
		return t.response(h, payload)
	case simple:
		return t.final(h, payload)
	case single:
		t.end()
		return true, nil
	case prepared:
		return t.prepared(payload)
	case parameters, columns, preparedColumns:
		if t.columns--; t.columns == 0 {
			return t.afterColumns()
		}
		return false, nil
	case parametersEOF, columnsEOF, preparedEOF:
		return t.columnsEnd(payload)
	case rows:
		if !t.ends(h) {
			return false, nil
		}
		return t.final(h, payload)
	case authentication:
		if h.First == headerOK {
			return t.final(h, payload)
		}
		return false, nil
	case streaming:
		if h.First == headerEOF && h.Len < maxEOF {
			return t.final(h, payload)
		}
	}
	return false, nil
}

func (t *Tracker) serverError(payload []byte) (end bool, err error) {
	e, err := ParseError(payload)
	if err != nil {
		return false, err
	}
	if e.Errno == errnoProgress && e.State == "" {
		return false, nil // MariaDB tells how far it has got
	}
	t.unsure = true
	t.cursors.failed(t.current)
	t.errors++
	t.end()
	return true, nil
}

// response is the first message of a response to a query.
func (t *Tracker) response(h Head, payload []byte) (end bool, err error) {
	switch {
	case h.Len == 0:
		return false, malformed("response to %v is empty", t.current)
	case h.First == headerOK:
		return t.final(h, payload)
	case h.First == headerLocal:
		t.upload, t.file = true, true
		t.lost = t.lost || len(t.queue) > 0 // those commands are content of the file now
		return false, nil                   // another response follows the upload
	}
	c := cursor{b: payload}
	count := c.lenenc()
	follow := true
	if t.meta && len(c.b) > 0 {
		follow = c.uint8() != 0
	}
	if c.short || count == 0 || count > 1<<16 {
		return false, malformed("response to %v has a count of columns that is malformed", t.current)
	}
	t.state, t.columns = columns, int(count)
	if !follow {
		return t.afterColumns()
	}
	return false, nil
}

// prepared is the first message of the response to COM_STMT_PREPARE.
func (t *Tracker) prepared(payload []byte) (end bool, err error) {
	c := cursor{b: payload}
	c.uint8()
	id := c.uint32()
	cols, params := int(c.uint16()), int(c.uint16())
	if c.short || payload[0] != headerOK {
		return false, malformed("response to COM_STMT_PREPARE is malformed")
	}
	t.cursors.latest = id
	c.take(3) // filler and warnings
	if t.meta && !c.short && len(c.b) > 0 && c.uint8() == 0 {
		t.end()
		return true, nil
	}
	t.columns, t.params = params, cols
	if params > 0 {
		t.state = parameters
		return false, nil
	}
	return t.prepareColumns()
}

// prepareColumns awaits the columns that a prepared statement will have.
func (t *Tracker) prepareColumns() (end bool, err error) {
	if t.columns = t.params; t.columns == 0 {
		t.end()
		return true, nil
	}
	t.state = preparedColumns
	return false, nil
}

// afterColumns is where the last of some columns has come, or none are to.
func (t *Tracker) afterColumns() (end bool, err error) {
	t.columns = 0
	if t.eofs {
		t.state++ // the state of the EOF behind them
		return false, nil
	}
	return t.nextPart()
}

func (t *Tracker) columnsEnd(payload []byte) (end bool, err error) {
	e, err := ParseEOF(payload)
	if err != nil {
		return false, err
	}
	if t.state == columnsEOF && e.Status&StatusCursorExists != 0 {
		t.setStatus(e.Status)
		t.end()
		return true, nil
	}
	t.state--
	return t.nextPart()
}

// nextPart is what follows columns and their EOF.
func (t *Tracker) nextPart() (end bool, err error) {
	switch t.state {
	case parameters:
		return t.prepareColumns()
	case preparedColumns:
		t.end()
		return true, nil
	}
	t.state = rows
	return false, nil
}

// final is an OK or EOF that ends a response, or one of several.
func (t *Tracker) final(h Head, payload []byte) (end bool, err error) {
	var status Status
	if h.First == headerEOF && h.Len < maxEOF && (t.eofs || h.Len == 5) {
		e, err := ParseEOF(payload)
		if err != nil {
			return false, err
		}
		status = e.Status
	} else {
		ok, err := ParseOK(payload)
		if err != nil {
			return false, err
		}
		status = ok.Status
	}
	t.setStatus(status)
	if status&StatusMoreResults != 0 && t.current.multiple() {
		t.state = response
		return false, nil
	}
	t.end()
	return true, nil
}

func (t *Tracker) setStatus(s Status) {
	t.status, t.unsure = s, false
	t.cursors.told(t.current, s)
}

// end begins the next command, if there is one.
func (t *Tracker) end() {
	t.columns, t.state = 0, idle
	for t.state == idle && len(t.queue) > 0 {
		next := t.queue[0]
		if t.queue = t.queue[1:]; len(t.queue) == 0 {
			t.queue = nil
		}
		if !next.command.responds() {
			t.silent--
		}
		t.begin(next)
	}
}

// Current returns the command that is being answered, or was last.
func (t *Tracker) Current() Command { return t.current }

// Outstanding returns how many commands await the end of their response.
func (t *Tracker) Outstanding() int {
	if t.state == idle {
		return 0
	}
	return 1 + len(t.queue) - t.silent
}

// Uploading reports whether the server has asked for a file (LOAD DATA LOCAL
// INFILE), whose end the client has not sent.
func (t *Tracker) Uploading() bool { return t.upload }

// ClientSpokeLast reports whether the latest packet of the response that is under
// way was the client's, a part of the file that the server has asked for.
func (t *Tracker) ClientSpokeLast() bool { return t.file }

// Ended reports whether the client has sent COM_QUIT.
func (t *Tracker) Ended() bool { return t.ended }

// Errors returns how many responses were errors.
func (t *Tracker) Errors() int { return t.errors }

// Status returns what the server told last of its state.
func (t *Tracker) Status() Status { return t.status }

// InTransaction reports whether a transaction is open, or may be: see Unsure.
func (t *Tracker) InTransaction() bool { return t.status&StatusInTransaction != 0 || t.unsure }

// Unsure reports whether an error came since the server told its state. Errors do
// not tell it: what failed may have opened a transaction before, or ended one. A
// proxy that wants to know asks with COM_PING, whose answer tells.
func (t *Tracker) Unsure() bool { return t.unsure }

// AtCommand reports that the server awaits a command: everything is answered.
func (t *Tracker) AtCommand() bool { return t.state == idle && !t.upload && !t.lost }

// Idle reports that nothing is under way: no command is being answered, no
// transaction is open and no cursor has rows to fetch, so the session can be ended
// between the last message and the next. The caller also has to see that both
// directions are between two messages (Framer.AtBoundary).
func (t *Tracker) Idle() bool { return t.AtCommand() && !t.InTransaction() && len(t.cursors.open) == 0 }
