package grpcjson

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/transform/transcode"
)

// problem is an answer of the proxy's own, RFC 9457. It implements error.
type problem struct {
	Title  string  `json:"title"`
	Status int     `json:"status"`
	Detail string  `json:"detail,omitempty"`
	Errors []wrong `json:"errors,omitempty"`

	reason reason
}

// wrong is a part of a request that was refused.
type wrong struct {
	In     string `json:"in"` // path, query or body
	Field  string `json:"field,omitempty"`
	Detail string `json:"detail"`
}

// Error implements error.
func (p *problem) Error() string { return p.Detail }

func newProblem(status int, why reason, detail string) *problem {
	return &problem{Title: http.StatusText(status), Status: status, Detail: detail, reason: why}
}

// fieldProblem says which field of a request is wrong.
func fieldProblem(err error) *problem {
	p := newProblem(http.StatusBadRequest, reasonRequest, err.Error())
	if field, ok := errors.AsType[*transcode.FieldError](err); ok {
		p.Errors = []wrong{{In: field.In, Field: field.Field, Detail: field.Reason}}
	}
	return p
}

// answer writes the problem.
func (p *problem) answer(w http.ResponseWriter, r *http.Request) {
	filters.ExchangeOf(r.Context()).Explain("", "grpcjson_"+string(p.reason))
	body, _ := json.Marshal(p) // of strings and numbers
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	switch p.reason {
	case reasonBudget, reasonUnready:
		h.Set("Retry-After", "1")
	case reasonSlow:
		h.Set("Connection", "close")
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // a client that is gone needs no answer
}
