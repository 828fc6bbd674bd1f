package main

import "fmt"

// shape is a load: so many clients that ask for the same, each as soon as it has
// its answer.
type shape struct {
	method  string
	path    string
	send    int // bytes of the request's body
	answer  int // bytes of the response's body
	clients int
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
	case s.send > 0:
		what = fmt.Sprintf("%s of %d B", s.method, s.send)
	case s.answer >= 1<<10:
		what = fmt.Sprintf("%s, %d KiB", s.method, s.answer>>10)
	}
	if s.clients == 1 {
		return what + ", 1 client"
	}
	return fmt.Sprintf("%s, %d clients", what, s.clients)
}

// shapes are those of plain proxying. A conversion is a shape with contenders of
// its own.
func shapes() []shape {
	var list []shape
	for _, clients := range []int{1, 50} {
		list = append(list,
			shape{method: "GET", path: "/small", answer: small, clients: clients},
			shape{method: "GET", path: "/large", answer: large, clients: clients},
			shape{method: "POST", path: "/small", send: posted, answer: small, clients: clients})
	}
	return list
}
