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
	jsonToGRPC
)

// terms are what a kind is measured by.
type terms struct {
	name       string
	peer       string   // the contender that dragoman is compared with
	goal       float64  // of the ratio of their CPU times
	contenders []string // all of them
	path, body string   // of a conversion's requests
	convert    string   // the flag by which this program is the contender "program"
}

func (k kind) terms() terms {
	return [...]terms{
		plain: {name: "plain proxying", peer: haproxy, goal: goalCPU, contenders: []string{dragoman, haproxy, nginx, direct}},
		jsonToJSON: {
			name: "JSON to JSON", peer: program, goal: goalConversion, contenders: []string{dragoman, program},
			path: "/v2/orders", body: order, convert: flagJSON,
		},
		jsonToGRPC: {
			name: "JSON to gRPC", peer: program, goal: goalConversion, contenders: []string{dragoman, program},
			path: creationPath, body: creation, convert: flagGRPC,
		},
	}[k]
}

// String is the kind's name.
func (k kind) String() string { return k.terms().name }

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
	case s.kind != plain:
		what = fmt.Sprintf("%s, %d B", s.kind, len(s.body))
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

// shapes lists all. A further conversion is a kind with terms of its own.
func shapes() []shape {
	var list []shape
	for _, clients := range []int{1, 50} {
		list = append(list,
			shape{method: "GET", path: "/small", answer: small, clients: clients},
			shape{method: "GET", path: "/large", answer: large, clients: clients},
			shape{method: "POST", path: "/small", body: strings.Repeat("x", posted), answer: small, clients: clients})
		for _, k := range []kind{jsonToJSON, jsonToGRPC} {
			t := k.terms()
			list = append(list, shape{kind: k, method: "POST", path: t.path, body: t.body, clients: clients})
		}
	}
	return list
}
