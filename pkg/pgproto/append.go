package pgproto

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
)

// Types of the messages that a backend sends (section 54.7).
const (
	TypeAuthentication           = 'R'
	TypeBackendKeyData           = 'K'
	TypeBindComplete             = '2'
	TypeCloseComplete            = '3'
	TypeCommandComplete          = 'C'
	TypeCopyBothResponse         = 'W'
	TypeCopyInResponse           = 'G'
	TypeCopyOutResponse          = 'H'
	TypeDataRow                  = 'D'
	TypeEmptyQueryResponse       = 'I'
	TypeErrorResponse            = 'E'
	TypeFunctionCallResponse     = 'V'
	TypeNegotiateProtocolVersion = 'v'
	TypeNoData                   = 'n'
	TypeNoticeResponse           = 'N'
	TypeNotificationResponse     = 'A'
	TypeParameterDescription     = 't'
	TypeParameterStatus          = 'S'
	TypeParseComplete            = '1'
	TypePortalSuspended          = 's'
	TypeReadyForQuery            = 'Z'
	TypeRowDescription           = 'T'
)

// Types of the messages that a frontend sends. TypePassword is also that of
// SASLInitialResponse and SASLResponse.
const (
	TypeBind         = 'B'
	TypeClose        = 'C'
	TypeDescribe     = 'D'
	TypeExecute      = 'E'
	TypeFlush        = 'H'
	TypeFunctionCall = 'F'
	TypeParse        = 'P'
	TypePassword     = 'p'
	TypeQuery        = 'Q'
	TypeSync         = 'S'
	TypeTerminate    = 'X'
)

// Types of the messages that both sides send.
const (
	TypeCopyData = 'd'
	TypeCopyDone = 'c'
	TypeCopyFail = 'f' // from the frontend only
)

// AppendHead appends the head of a message with a payload of n bytes.
func AppendHead(dst []byte, typ byte, n int) []byte {
	return binary.BigEndian.AppendUint32(append(dst, typ), uint32(n+4))
}

// AppendMessage appends a message.
func AppendMessage(dst []byte, typ byte, payload []byte) []byte {
	return append(AppendHead(dst, typ, len(payload)), payload...)
}

// finish writes the length of the message whose head begins at start.
func finish(dst []byte, start int) []byte {
	binary.BigEndian.PutUint32(dst[start+1:], uint32(len(dst)-start-1))
	return dst
}

// TxStatus is the transaction status that ReadyForQuery tells.
type TxStatus byte

// Transaction statuses.
const (
	TxIdle   TxStatus = 'I' // not in a transaction
	TxActive TxStatus = 'T' // in a transaction block
	TxFailed TxStatus = 'E' // in a failed transaction block, until it is rolled back
)

// AppendReadyForQuery appends ReadyForQuery.
func AppendReadyForQuery(dst []byte, status TxStatus) []byte {
	return append(AppendHead(dst, TypeReadyForQuery, 1), byte(status))
}

// ParseReadyForQuery reads the payload of ReadyForQuery.
func ParseReadyForQuery(payload []byte) (TxStatus, error) {
	if len(payload) == 1 {
		switch s := TxStatus(payload[0]); s {
		case TxIdle, TxActive, TxFailed:
			return s, nil
		}
	}
	return 0, malformed("ReadyForQuery has the payload %.8q", payload)
}

// AppendParameterStatus appends ParameterStatus. A zero byte ends name or value.
func AppendParameterStatus(dst []byte, name, value string) []byte {
	start := len(dst)
	dst = AppendHead(dst, TypeParameterStatus, 0)
	dst = appendCString(dst, beforeZero(name))
	dst = appendCString(dst, beforeZero(value))
	return finish(dst, start)
}

// ParseParameterStatus reads the payload of ParameterStatus.
func ParseParameterStatus(payload []byte) (name, value string, err error) {
	c := cursor{b: payload}
	name, value = string(c.cstring()), string(c.cstring())
	if !c.done() {
		return "", "", malformed("ParameterStatus is not two strings")
	}
	return name, value, nil
}

// AppendBackendKeyData appends BackendKeyData. A key has 4 bytes in version 3.0,
// and up to 256 in 3.2.
func AppendBackendKeyData(dst []byte, pid uint32, key []byte) []byte {
	dst = AppendHead(dst, TypeBackendKeyData, 4+len(key))
	dst = binary.BigEndian.AppendUint32(dst, pid)
	return append(dst, key...)
}

// ParseBackendKeyData reads the payload of BackendKeyData: what a CancelRequest
// has to show.
func ParseBackendKeyData(payload []byte) (pid uint32, key []byte, err error) {
	c := cursor{b: payload}
	pid = c.uint32()
	if c.short || len(c.b) < minCancelKey || len(c.b) > maxCancelKey {
		return 0, nil, malformed("BackendKeyData has %d bytes", len(payload))
	}
	return pid, slices.Clip(c.b), nil
}

// AppendNegotiateProtocolVersion appends NegotiateProtocolVersion: the newest
// version that is spoken for the major version asked for, and the protocol
// options (start-up parameters that begin with "_pq_.") that are not known.
func AppendNegotiateProtocolVersion(dst []byte, newest Version, unknown []string) []byte {
	start := len(dst)
	dst = AppendHead(dst, TypeNegotiateProtocolVersion, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(newest))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(unknown)))
	for _, name := range unknown {
		dst = appendCString(dst, beforeZero(name))
	}
	return finish(dst, start)
}

// ParseNegotiateProtocolVersion reads the payload of NegotiateProtocolVersion.
// The documentation speaks of a minor version, servers send the whole version;
// what has no major part is taken as a minor of version 3.
func ParseNegotiateProtocolVersion(payload []byte) (newest Version, unknown []string, err error) {
	c := cursor{b: payload}
	newest = Version(c.uint32())
	count := c.uint32()
	for range count {
		if c.short {
			break
		}
		unknown = append(unknown, string(c.cstring()))
	}
	if !c.done() {
		return 0, nil, malformed("NegotiateProtocolVersion has %d bytes for %d options", len(payload), count)
	}
	if newest.Major() == 0 {
		newest |= Version30
	}
	return newest, unknown, nil
}

// AppendQuery appends a Query of the simple protocol.
func AppendQuery(dst []byte, sql string) []byte {
	start := len(dst)
	return finish(appendCString(AppendHead(dst, TypeQuery, 0), beforeZero(sql)), start)
}

// AppendTerminate appends Terminate, with which a frontend ends its session.
func AppendTerminate(dst []byte) []byte { return AppendHead(dst, TypeTerminate, 0) }

// ParseQuery reads the payload of Query: the statements, as they are.
func ParseQuery(payload []byte) (sql []byte, err error) {
	c := cursor{b: payload}
	sql = c.cstring()
	if !c.done() {
		return nil, malformed("Query is not one string")
	}
	return sql, nil
}

// CommandTag is the tag of CommandComplete, such as "INSERT 0 5".
type CommandTag struct {
	Command string // "INSERT", "SELECT", "CREATE TABLE", ...
	Rows    int64  // affected or returned; -1 where the tag tells none
}

// ParseCommandComplete reads the payload of CommandComplete.
func ParseCommandComplete(payload []byte) (CommandTag, error) {
	c := cursor{b: payload}
	text := string(c.cstring())
	if !c.done() {
		return CommandTag{}, malformed("CommandComplete is not one string")
	}
	tag := CommandTag{Command: text, Rows: -1}
	command, count, found := cutLast(text)
	if !found {
		return tag, nil
	}
	if rows, err := strconv.ParseUint(count, 10, 63); err == nil {
		tag.Command, tag.Rows = command, int64(rows)
	}
	if command, _, found := cutLast(command); found && command == "INSERT" {
		tag.Command = command // without the oid, which is always 0
	}
	return tag, nil
}

// cutLast cuts s at its last space.
func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, ' ')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// beforeZero returns s up to its first zero byte, which would end it on the wire.
func beforeZero(s string) string {
	before, _, _ := strings.Cut(s, "\x00")
	return before
}
