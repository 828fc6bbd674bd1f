package pgproto

// SQLSTATEs that a proxy itself sends or reacts to.
const (
	StateAdminShutdown       = "57P01" // admin_shutdown: drivers and pools connect anew
	StateCannotConnectNow    = "57P03" // cannot_connect_now: drivers try again, or another host
	StateConnectionFailure   = "08006" // connection_failure
	StateProtocolViolation   = "08P01" // protocol_violation
	StateTooManyConnections  = "53300" // too_many_connections
	StateInvalidPassword     = "28P01" // invalid_password
	StateInvalidAuth         = "28000" // invalid_authorization_specification
	StateFeatureNotSupported = "0A000" // feature_not_supported
	StateReadOnlyTransaction = "25006" // read_only_sql_transaction
	StateInternalError       = "XX000" // internal_error
)

// Severities of an error or notice.
const (
	SeverityFatal   = "FATAL"   // the connection ends
	SeverityError   = "ERROR"   // the statement fails
	SeverityWarning = "WARNING" // a notice
)

// Codes of a notice's fields (section 54.8). The other fields are the server's
// affair: its source lines, its objects' names.
const (
	fieldSeverity      = 'S' // may be translated
	fieldSeverityPlain = 'V' // never translated, since version 9.6
	fieldState         = 'C'
	fieldMessage       = 'M'
	fieldDetail        = 'D'
	fieldHint          = 'H'
)

// Notice is what ErrorResponse and NoticeResponse tell.
type Notice struct {
	Severity string // never translated
	State    string // the SQLSTATE, five characters
	Message  string
	Detail   string
	Hint     string
}

// Fatal reports whether the connection ends with it.
func (n *Notice) Fatal() bool { return n.Severity == SeverityFatal || n.Severity == "PANIC" }

// AppendError appends the notice as an ErrorResponse. Fields that are empty are
// left out, save the three that every error has.
func (n *Notice) AppendError(dst []byte) []byte { return n.append(dst, TypeErrorResponse) }

// AppendNotice appends it as a NoticeResponse.
func (n *Notice) AppendNotice(dst []byte) []byte { return n.append(dst, TypeNoticeResponse) }

func (n *Notice) append(dst []byte, typ byte) []byte {
	start := len(dst)
	dst = AppendHead(dst, typ, 0)
	field := func(code byte, value string) { dst = appendCString(append(dst, code), beforeZero(value)) }
	field(fieldSeverity, n.Severity)
	field(fieldSeverityPlain, n.Severity)
	field(fieldState, n.State)
	field(fieldMessage, n.Message)
	if n.Detail != "" {
		field(fieldDetail, n.Detail)
	}
	if n.Hint != "" {
		field(fieldHint, n.Hint)
	}
	return finish(append(dst, 0), start)
}

// ParseNotice reads the payload of ErrorResponse or NoticeResponse. Fields that
// it does not know are passed by.
func ParseNotice(payload []byte) (Notice, error) {
	var n Notice
	err := eachField(payload, func(code byte, value []byte) {
		switch code {
		case fieldSeverity:
			if n.Severity == "" {
				n.Severity = string(value)
			}
		case fieldSeverityPlain:
			n.Severity = string(value)
		case fieldState:
			n.State = string(value)
		case fieldMessage:
			n.Message = string(value)
		case fieldDetail:
			n.Detail = string(value)
		case fieldHint:
			n.Hint = string(value)
		}
	})
	if err != nil {
		return Notice{}, err
	}
	return n, nil
}

// NoticeState returns the SQLSTATE alone of the payload of an ErrorResponse or
// NoticeResponse, nil if it has none in the bytes that are there. It takes the
// beginning of a payload too, and needs no memory.
func NoticeState(payload []byte) []byte {
	c := cursor{b: payload}
	for {
		code, value := c.uint8(), c.cstring()
		if c.short || code == 0 {
			return nil
		}
		if code == fieldState {
			return value
		}
	}
}

func eachField(payload []byte, field func(code byte, value []byte)) error {
	c := cursor{b: payload}
	for {
		code := c.uint8()
		if c.short || code == 0 {
			break
		}
		value := c.cstring()
		if c.short {
			break
		}
		field(code, value)
	}
	if !c.done() {
		return malformed("fields of an error or notice are not terminated")
	}
	return nil
}
