package http

import (
	"encoding/json"
	"strconv"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// accessLog writes a line for each request.
type accessLog struct {
	conf *resource.AccessLog
	out  *logFile
}

// log writes the line of a request that is over; false: it is lost.
func (l *accessLog) log(x *exchange) bool {
	response := x.writer.Header()
	if l.conf.JSON == nil {
		missing := "-"
		if l.conf.OmitEmpty {
			missing = ""
		}
		return l.out.write([]byte(x.format(&l.conf.Text, response, missing)))
	}
	line := []byte{'{'}
	for i := range l.conf.JSON {
		f := &l.conf.JSON[i]
		value := x.jsonValue(&f.Value, response)
		if value == nil && l.conf.OmitEmpty {
			continue
		}
		if len(line) > 1 {
			line = append(line, ',')
		}
		line = strconv.AppendQuote(line, f.Name)
		line = append(line, ':')
		if value == nil {
			value = []byte("null")
		}
		line = append(line, value...)
	}
	return l.out.write(append(line, '}', '\n'))
}

// jsonValue is a number where a command alone gives one, as in Envoy; nil for
// what is not known.
func (x *exchange) jsonValue(f *resource.Format, h map[string][]string) []byte {
	if len(f.Parts) == 1 && f.Parts[0].Command != "" {
		v := x.command(&f.Parts[0], h)
		switch {
		case v == "":
			return nil
		case isNumber(f.Parts[0].Command):
			return []byte(v)
		}
		return quote(v)
	}
	return quote(x.format(f, h, "-"))
}

func quote(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		return nil
	}
	return b
}

// isNumber says which commands give numbers.
func isNumber(command string) bool {
	switch command {
	case "RESPONSE_CODE", "BYTES_RECEIVED", "BYTES_SENT", "DURATION", "REQUEST_DURATION", "RESPONSE_DURATION",
		"RESPONSE_TX_DURATION", "UPSTREAM_REQUEST_ATTEMPT_COUNT", "DOWNSTREAM_LOCAL_PORT", "DOWNSTREAM_REMOTE_PORT":
		return true
	default:
		return false
	}
}
