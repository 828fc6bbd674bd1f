package gather

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

// Header tells what an answer is made of: a dictionary of RFC 9651, such as
//
//	leaves=3, answered=2, missing=("eu";reason=timeout)
const Header = "Dragoman-Gather"

// summary is what became of all leaves.
type summary struct {
	leaves, answered int
	missing          []*answer
}

func (s *summary) header() string {
	var b strings.Builder
	b.WriteString("leaves=")
	b.WriteString(strconv.Itoa(s.leaves))
	b.WriteString(", answered=")
	b.WriteString(strconv.Itoa(s.answered))
	if len(s.missing) == 0 {
		return b.String()
	}
	b.WriteString(", missing=(")
	for i, a := range s.missing {
		if i > 0 {
			b.WriteByte(' ')
		}
		writeString(&b, a.leaf)
		b.WriteString(";reason=")
		b.WriteString(a.outcome)
		if a.outcome == outcomeStatus {
			b.WriteString(";status=")
			b.WriteString(strconv.Itoa(a.status))
		}
	}
	b.WriteByte(')')
	return b.String()
}

// writeString writes a string of RFC 9651, section 3.3.3.
func writeString(b *strings.Builder, s string) {
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			b.WriteByte('?')
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
}

// problem is an answer of the filter's own, RFC 9457.
type problem struct {
	status         int
	reason, detail string // reason: a word for the access log
	missing        []*answer
	header         string
}

// problem is the answer where too few leaves have answered.
func (s *summary) problem(minimum int) problem {
	status := http.StatusBadGateway
	late := 0
	for _, a := range s.missing {
		if a.outcome == outcomeTimeout {
			late++
		}
	}
	if late > 0 && late == len(s.missing) {
		status = http.StatusGatewayTimeout
	}
	return problem{
		status: status, reason: "too_few_answers", missing: s.missing, header: s.header(),
		detail: strconv.Itoa(s.answered) + " of " + strconv.Itoa(s.leaves) + " servers have answered, and " + strconv.Itoa(minimum) + " must",
	}
}

// missing is one that a problem names.
type missing struct {
	Leaf   string `json:"leaf"`
	Reason string `json:"reason"`
	Status int    `json:"status,omitempty"`
	Detail string `json:"detail,omitempty"`
}

func (f *filter) refuse(w http.ResponseWriter, x filters.Exchange, p problem) {
	f.counters.failed.WithLabelValues(p.reason).Inc()
	page := struct {
		Title   string    `json:"title"`
		Status  int       `json:"status"`
		Detail  string    `json:"detail"`
		Missing []missing `json:"missing,omitempty"`
	}{Title: http.StatusText(p.status), Status: p.status, Detail: p.detail}
	for _, a := range p.missing {
		m := missing{Leaf: a.leaf, Reason: a.outcome, Detail: a.detail}
		if a.outcome == outcomeStatus {
			m.Status = a.status
		}
		page.Missing = append(page.Missing, m)
	}
	body, _ := json.Marshal(page) // of strings and numbers
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if p.header != "" {
		h.Set(Header, p.header)
	}
	x.Explain("", p.reason)
	w.WriteHeader(p.status)
	_, _ = w.Write(body) // a client that is gone needs no answer
}
