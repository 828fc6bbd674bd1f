package grpcjson

import (
	"cmp"
	"encoding/json"
	"mime"
	"net/http"
	"strings"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// appError is what apps say of an error: a problem of RFC 9457, a
// google.rpc.Status, alone or as Google's APIs wrap it, or something like it.
type appError struct {
	Code    json.Number     `json:"code"`
	Status  json.RawMessage `json:"status"` // a number in problems, a code's name in Google's APIs
	Message string          `json:"message"`
	Title   string          `json:"title"`
	Detail  string          `json:"detail"`
	Reason  string          `json:"error_description"` // RFC 6749
	Error   json.RawMessage `json:"error"`
	Details json.RawMessage `json:"details"`
}

// read makes an outcome of an app's error.
func (v *reverse) read(body []byte, status int, contentType string) outcome {
	o := outcome{code: grpcCode(status), message: http.StatusText(status)}
	kind, _, _ := mime.ParseMediaType(contentType)
	switch {
	case kind == "application/json" || strings.HasSuffix(kind, "+json"):
		v.readJSON(&o, body)
	case kind == "text/plain":
		if text := strings.TrimSpace(string(body)); text != "" {
			o.message = text
		}
	}
	return o
}

func (v *reverse) readJSON(o *outcome, body []byte) {
	var e appError
	if json.Unmarshal(body, &e) != nil {
		return
	}
	var text string
	if len(e.Error) > 0 && json.Unmarshal(e.Error, &text) != nil {
		v.readJSON(o, e.Error) // {"error": {...}}
		return
	}
	o.message = cmp.Or(e.Detail, e.Message, e.Reason, e.Title, text, o.message)
	var name string
	if json.Unmarshal(e.Status, &name) == nil {
		var c codes.Code
		if c.UnmarshalJSON([]byte(`"`+name+`"`)) == nil && c != codes.OK {
			o.code = c
		}
	}
	n, err := e.Code.Int64()
	isStatus := err == nil && n > 0 && n <= int64(codes.Unauthenticated)
	if isStatus {
		o.code = codes.Code(n)
	}
	if len(e.Details) > 0 && e.Message != "" {
		o.details = v.details(o, body, isStatus)
	}
}

// details keeps those of an error that is a google.rpc.Status.
func (v *reverse) details(o *outcome, body []byte, isStatus bool) []byte {
	wire, err := v.service.api.ReadStatus(body)
	if err != nil {
		return nil
	}
	if isStatus {
		return wire
	}
	var s spb.Status
	if proto.Unmarshal(wire, &s) != nil {
		return nil
	}
	s.Code = int32(o.code)
	wire, _ = proto.Marshal(&s)
	return wire
}
