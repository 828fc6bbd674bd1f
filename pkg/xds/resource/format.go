package resource

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Format is a text with Envoy's %COMMAND(ARGUMENT):LENGTH% in it.
type Format struct {
	Source string
	Parts  []FormatPart
}

// FormatPart is literal text, or a command.
type FormatPart struct {
	Literal string
	Command string // "": a literal
	Arg     string // in the parentheses, up to a question mark
	Alt     string // after it: what is taken where Arg finds nothing
	Max     int    // bytes of the result; 0: no bound
}

// errFormat is a text with a % that begins no command.
var errFormat = errors.New("has a % that neither begins a command nor is doubled")

// ParseFormat reads a format. Unknown commands are an error.
func ParseFormat(s string) (Format, error) {
	f := Format{Source: s}
	var literal strings.Builder
	for rest := s; rest != ""; {
		at := strings.IndexByte(rest, '%')
		if at < 0 {
			literal.WriteString(rest)
			break
		}
		literal.WriteString(rest[:at])
		rest = rest[at+1:]
		if strings.HasPrefix(rest, "%") {
			literal.WriteByte('%')
			rest = rest[1:]
			continue
		}
		part, n, err := parseCommand(rest)
		if err != nil {
			return f, err
		}
		if literal.Len() > 0 {
			f.Parts = append(f.Parts, FormatPart{Literal: literal.String()})
			literal.Reset()
		}
		f.Parts = append(f.Parts, part)
		rest = rest[n:]
	}
	if literal.Len() > 0 {
		f.Parts = append(f.Parts, FormatPart{Literal: literal.String()})
	}
	return f, nil
}

// parseCommand reads a command up to its closing %, and tells its length.
func parseCommand(s string) (FormatPart, int, error) {
	end := strings.IndexAny(s, "(:%")
	if end <= 0 {
		return FormatPart{}, 0, errFormat
	}
	p := FormatPart{Command: s[:end]}
	at := end
	if s[at] == '(' {
		closing := strings.IndexByte(s[at:], ')')
		if closing < 0 {
			return p, 0, fmt.Errorf("has %%%s( without a closing parenthesis", p.Command)
		}
		p.Arg = s[at+1 : at+closing]
		at += closing + 1
		if takesAlternative(p.Command) {
			p.Arg, p.Alt, _ = strings.Cut(p.Arg, "?")
		}
	}
	if strings.HasPrefix(s[at:], ":") {
		closing := strings.IndexByte(s[at:], '%')
		if closing < 0 {
			return p, 0, errFormat
		}
		n, err := strconv.Atoi(s[at+1 : at+closing])
		if err != nil || n < 1 {
			return p, 0, fmt.Errorf("has %%%s with a length that is no number above 0", p.Command)
		}
		p.Max, at = n, at+closing
	}
	if !strings.HasPrefix(s[at:], "%") {
		return p, 0, errFormat
	}
	if !knownCommand(p.Command, p.Arg) {
		return p, 0, fmt.Errorf("has the command %%%s%%, which is not supported", p.Command)
	}
	return p, at + 1, nil
}

func takesAlternative(command string) bool {
	switch command {
	case "REQ", "RESP", "TRAILER":
		return true
	default:
		return false
	}
}

func knownCommand(command, arg string) bool {
	switch command {
	case "REQ", "RESP", "TRAILER", "ENVIRONMENT":
		return arg != ""
	case "START_TIME", "DURATION", "REQUEST_DURATION", "RESPONSE_DURATION", "RESPONSE_TX_DURATION",
		"PROTOCOL", "RESPONSE_CODE", "RESPONSE_CODE_DETAILS", "RESPONSE_FLAGS", "BYTES_RECEIVED", "BYTES_SENT",
		"DOWNSTREAM_REMOTE_ADDRESS", "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_REMOTE_PORT",
		"DOWNSTREAM_DIRECT_REMOTE_ADDRESS", "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
		"DOWNSTREAM_LOCAL_ADDRESS", "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_LOCAL_PORT",
		"DOWNSTREAM_TLS_VERSION", "DOWNSTREAM_TLS_CIPHER", "DOWNSTREAM_PEER_SUBJECT", "REQUESTED_SERVER_NAME",
		"UPSTREAM_HOST", "UPSTREAM_CLUSTER", "UPSTREAM_REMOTE_ADDRESS", "UPSTREAM_TRANSPORT_FAILURE_REASON",
		"UPSTREAM_REQUEST_ATTEMPT_COUNT", "UPSTREAM_PROTOCOL", "ROUTE_NAME", "VIRTUAL_HOST_NAME", "HOSTNAME",
		"STREAM_ID", "TRACE_ID", "GRPC_STATUS", "GRPC_STATUS_NUMBER", "CONNECTION_TERMINATION_DETAILS":
		return true
	default:
		return false
	}
}

// Plain returns the text of a format without commands.
func (f *Format) Plain() (string, bool) {
	switch len(f.Parts) {
	case 0:
		return "", true
	case 1:
		return f.Parts[0].Literal, f.Parts[0].Command == ""
	default:
		return "", false
	}
}
