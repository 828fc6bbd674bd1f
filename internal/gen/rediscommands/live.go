package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// askServer returns the version of the server at addr and its commands.
func askServer(addr string) (version string, cmds []*command, err error) {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return "", nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return "", nil, err
	}
	info, err := ask(conn, "INFO", "server")
	if err != nil {
		return "", nil, err
	}
	for line := range strings.Lines(string(info.Text())) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "redis_version:"); ok {
			version = v
		}
	}
	table, err := ask(conn, "COMMAND")
	if err != nil {
		return "", nil, err
	}
	docs, err := ask(conn, "COMMAND", "DOCS")
	if err != nil {
		return "", nil, err
	}
	about := pairs(docs)
	for i := range table.Elems {
		c, err := parseCommand(&table.Elems[i])
		if err != nil {
			return "", nil, err
		}
		c.describe(about)
		cmds = append(cmds, c)
	}
	return version, cmds, nil
}

// ask sends one request and reads its reply.
func ask(conn net.Conn, args ...string) (redisproto.Value, error) {
	if _, err := conn.Write(redisproto.AppendCommand(nil, args...)); err != nil {
		return redisproto.Value{}, err
	}
	lim := redisproto.DefaultLimits()
	var frame []byte
	chunk := make([]byte, 1<<16)
	r := bufio.NewReader(conn)
	for {
		n, err := r.Read(chunk)
		frame = append(frame, chunk[:n]...)
		if err != nil {
			return redisproto.Value{}, err
		}
		v, _, err := redisproto.ParseValue(frame, &lim)
		switch {
		case errors.Is(err, redisproto.ErrIncomplete):
			continue
		case err != nil:
			return v, err
		case v.IsError():
			return v, fmt.Errorf("%s: %s", strings.Join(args, " "), v.Str)
		}
		return v, nil
	}
}

// parseCommand reads one element of COMMAND's reply in RESP2.
func parseCommand(v *redisproto.Value) (*command, error) {
	e := v.Elems
	if len(e) < 10 {
		return nil, fmt.Errorf("a command of %d fields: the server is older than 7.0", len(e))
	}
	c := &command{
		name:       strings.ToLower(string(e[0].Str)),
		arity:      int(e[1].Int),
		flags:      texts(&e[2]),
		first:      int(e[3].Int),
		last:       int(e[4].Int),
		step:       int(e[5].Int),
		categories: texts(&e[6]),
		tips:       texts(&e[7]),
		subs:       map[string]*command{},
	}
	for i := range e[8].Elems {
		spec := pairs(e[8].Elems[i])
		flags := spec["flags"]
		c.keySpecs = append(c.keySpecs, keySpec{
			flags: texts(&flags),
			begin: parseSearch(spec["begin_search"]),
			find:  parseSearch(spec["find_keys"]),
		})
	}
	for i := range e[9].Elems {
		sub, err := parseCommand(&e[9].Elems[i])
		if err != nil {
			return nil, err
		}
		c.subs[sub.name] = sub
	}
	return c, nil
}

func parseSearch(v redisproto.Value) search {
	m := pairs(v)
	s := search{kind: string(m["type"].Str), args: map[string]int{}}
	for name, arg := range pairs(m["spec"]) {
		if name == "keyword" {
			s.keyword = string(arg.Str)
			continue
		}
		s.args[name] = int(arg.Int)
	}
	return s
}

// describe takes version and group from the reply of COMMAND DOCS.
func (c *command) describe(docs map[string]redisproto.Value) {
	about := pairs(docs[c.name])
	c.since, c.group = string(about["since"].Str), string(about["group"].Str)
	subs := pairs(about["subcommands"])
	for _, sub := range c.subs {
		sub.describe(subs)
	}
}

func pairs(v redisproto.Value) map[string]redisproto.Value {
	m := map[string]redisproto.Value{}
	for i := 0; i+1 < len(v.Elems); i += 2 {
		m[string(v.Elems[i].Str)] = v.Elems[i+1]
	}
	return m
}

func texts(v *redisproto.Value) []string {
	var out []string
	for i := range v.Elems {
		out = append(out, string(v.Elems[i].Str))
	}
	return out
}
