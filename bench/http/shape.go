package main

import (
	"fmt"
	"strings"
)

// shape is a load: so many clients that ask for the same, each as soon as it has
// its answer.
type shape struct {
	kind    kind
	method  string
	path    string
	body    string
	answer  int // bytes of the response's body; 0: as many as the first has
	clients int
}

// kind is what is done to requests: it says which contenders take part.
type kind uint8

const (
	plain kind = iota // nothing
	jsonToJSON
)

// String is the kind's name.
func (k kind) String() string { return [...]string{"plain proxying", "JSON to JSON"}[k] }

// peer is the contender that dragoman is measured by, goal the ratio of their CPU
// times, and names are all contenders.
func (k kind) peer() string {
	if k == jsonToJSON {
		return program
	}
	return haproxy
}

func (k kind) goal() float64 {
	if k == jsonToJSON {
		return goalConversion
	}
	return goalCPU
}

func (k kind) names() []string {
	if k == jsonToJSON {
		return []string{dragoman, program}
	}
	return []string{dragoman, haproxy, nginx, direct}
}

// Sizes of bodies, bytes.
const (
	small  = 128
	large  = 64 << 10
	posted = 1 << 10
)

// String is what tables call the shape, and what -shape matches.
func (s shape) String() string {
	what := fmt.Sprintf("%s, %d B", s.method, s.answer)
	switch {
	case s.kind == jsonToJSON:
		what = fmt.Sprintf("JSON to JSON, %d B", len(s.body))
	case s.body != "":
		what = fmt.Sprintf("%s of %d B", s.method, len(s.body))
	case s.answer >= 1<<10:
		what = fmt.Sprintf("%s, %d KiB", s.method, s.answer>>10)
	}
	if s.clients == 1 {
		return what + ", 1 client"
	}
	return fmt.Sprintf("%s, %d clients", what, s.clients)
}

// shapes lists all. A further conversion is a kind with contenders of its own.
func shapes() []shape {
	var list []shape
	for _, clients := range []int{1, 50} {
		list = append(list,
			shape{method: "GET", path: "/small", answer: small, clients: clients},
			shape{method: "GET", path: "/large", answer: large, clients: clients},
			shape{method: "POST", path: "/small", body: strings.Repeat("x", posted), answer: small, clients: clients},
			shape{kind: jsonToJSON, method: "POST", path: "/v2/orders", body: order, clients: clients})
	}
	return list
}
