package transform

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// problemType is the content type of RFC 9457.
const problemType = "application/problem+json"

// problem is an answer of the proxy's own, RFC 9457 section 3.1.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
}

// refuse answers what the route refuses.
func refuse(w http.ResponseWriter, r *http.Request, p *resource.TransformProblem) {
	flag := ""
	if p.Status == http.StatusNotFound {
		flag = "NR"
	}
	filters.ExchangeOf(r.Context()).Explain(flag, "transform_refused")
	if len(p.Allow) > 0 {
		w.Header().Set("Allow", strings.Join(p.Allow, ", "))
	}
	answer(w, problem{Title: http.StatusText(p.Status), Status: p.Status, Detail: p.Detail})
}

// answer writes a problem. A response to HEAD has its body left out beneath.
func answer(w http.ResponseWriter, p problem) {
	body, _ := json.Marshal(p) // of strings and numbers
	h := w.Header()
	h.Set("Content-Type", problemType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // a client that is gone needs no answer
}
