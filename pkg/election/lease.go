package election

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Results of a request.
var (
	// ErrConflict says that somebody else was faster.
	ErrConflict = errors.New("the lease has changed meanwhile")
	// ErrNotFound says that there is no such Lease.
	ErrNotFound = errors.New("there is no such lease")
)

// maxAnswer bounds an answer of the API server, in bytes.
const maxAnswer = 1 << 20

// microTime is the form of a MicroTime.
const microTime = "2006-01-02T15:04:05.000000Z07:00"

// leases are those of a namespace, at an API server.
type leases struct {
	api       *API
	namespace string
}

// object is a Lease, of which all is kept that is not ours to change.
type object struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Metadata   map[string]any `json:"metadata"`
	Spec       map[string]any `json:"spec"`
}

func (l *leases) path(name string) string {
	path := "/apis/coordination.k8s.io/v1/namespaces/" + url.PathEscape(l.namespace) + "/leases"
	if name != "" {
		path += "/" + url.PathEscape(name)
	}
	return path
}

// read gives a Lease and what it says; ErrNotFound.
func (l *leases) read(ctx context.Context, name string) (*object, record, error) {
	o := &object{}
	if err := l.api.do(ctx, http.MethodGet, l.path(name), nil, o); err != nil {
		return nil, record{}, fmt.Errorf("reading the lease %s/%s: %w", l.namespace, name, err)
	}
	return o, o.record(), nil
}

// write stores what a record says in a Lease, or in a new one if o is nil;
// ErrConflict.
func (l *leases) write(ctx context.Context, name string, o *object, r record, acquired bool) (*object, record, error) {
	method, path := http.MethodPut, l.path(name)
	if o == nil {
		method, path = http.MethodPost, l.path("")
		o = &object{
			APIVersion: "coordination.k8s.io/v1", Kind: "Lease",
			Metadata: map[string]any{"name": name, "namespace": l.namespace},
		}
	}
	now := time.Now().UTC().Format(microTime)
	next := &object{APIVersion: o.APIVersion, Kind: o.Kind, Metadata: o.Metadata, Spec: map[string]any{}}
	maps.Copy(next.Spec, o.Spec)
	next.Spec["holderIdentity"] = r.holder
	next.Spec["leaseDurationSeconds"] = max(1, int64(r.duration/time.Second))
	next.Spec["leaseTransitions"] = r.transitions
	next.Spec["renewTime"] = now
	if acquired {
		next.Spec["acquireTime"] = now
	}
	stored := &object{}
	if err := l.api.do(ctx, method, path, next, stored); err != nil {
		return nil, record{}, fmt.Errorf("writing the lease %s/%s: %w", l.namespace, name, err)
	}
	return stored, stored.record(), nil
}

// record is what a Lease says. What is absent or of another type counts as
// nothing: the API server has checked it.
func (o *object) record() record {
	text := func(m map[string]any, key string) string {
		s, _ := m[key].(string)
		return s
	}
	number := func(key string) int64 {
		n, _ := o.Spec[key].(float64)
		return int64(n)
	}
	return record{
		holder:      text(o.Spec, "holderIdentity"),
		duration:    time.Duration(number("leaseDurationSeconds")) * time.Second,
		transitions: number("leaseTransitions"),
		renewals:    text(o.Spec, "renewTime"),
		version:     text(o.Metadata, "resourceVersion"),
	}
}

// do sends a request and reads its answer into a value.
func (a *API) do(ctx context.Context, method, path string, body, into any) error {
	var content io.Reader = http.NoBody
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.server+path, content)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "dragoman-leader-elector")
	token, err := a.token()
	if err != nil {
		return err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return refusal(resp.StatusCode, data)
	}
	return json.Unmarshal(data, into)
}

// refusal is what an API server says no with.
func refusal(code int, body []byte) error {
	var status struct{ Message, Reason string }
	if err := json.Unmarshal(body, &status); err != nil || status.Message == "" {
		status.Message = strings.TrimSpace(string(body[:min(len(body), 200)]))
	}
	switch code {
	case http.StatusNotFound:
		return fmt.Errorf("%w: %s", ErrNotFound, status.Message)
	case http.StatusConflict:
		return fmt.Errorf("%w: %s", ErrConflict, status.Message)
	case http.StatusForbidden:
		return fmt.Errorf("%s (a Role with get, create and update of leases is needed)", status.Message)
	}
	return fmt.Errorf("the API server says %d: %s", code, status.Message)
}
