package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"google.golang.org/grpc"
)

// reply is what the server's process answers to a command.
type reply struct {
	Address string
	Times   []time.Duration
	Heap    uint64
	Error   string
}

// runChild is the server's process: it serves, and does what stdin says.
//
//	change <service> <generation>
//	times
//	heap
func runChild(s *settings, in io.Reader, out io.Writer) error {
	c, err := newContender(s.child, s.size)
	if err != nil {
		return err
	}
	creds, err := serverCredentials(s.secure)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	g := c.serve(grpc.Creds(creds))
	go func() { _ = g.Serve(listener) }()
	defer g.Stop()
	runtime.GC() // what making the mesh left behind is not the server's
	answers := json.NewEncoder(out)
	if err := answers.Encode(reply{Address: listener.Addr().String()}); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var r reply
		if err := obey(c, lines.Text(), &r); err != nil {
			r.Error = err.Error()
		}
		if err := answers.Encode(r); err != nil {
			return err
		}
	}
	return lines.Err()
}

func obey(c contender, line string, r *reply) error {
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "change":
		var service, generation int
		if _, err := fmt.Sscan(rest, &service, &generation); err != nil {
			return err
		}
		return c.change(service, generation)
	case "times":
		r.Times = c.convergence()
	case "heap":
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		r.Heap = m.HeapAlloc
	default:
		return fmt.Errorf("no command %q", line)
	}
	return nil
}

// child is the server's process, seen from outside.
type child struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *json.Decoder
	address string
}

// gogc is how much garbage the servers' processes leave lying around: half of what
// is in use, as in manifests/controlplane, if the environment says nothing else.
func gogc() string { return cmp.Or(os.Getenv("GOGC"), "50") }

// start runs this program again, as a contender.
func start(name string, s size, secure bool) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-child", name, "-proxies", fmt.Sprint(s.Proxies), "-services", fmt.Sprint(s.Services),
		"-endpoints", fmt.Sprint(s.Endpoints), "-names", fmt.Sprint(s.Names), fmt.Sprintf("-tls=%v", secure))
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "GOGC="+gogc())
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{cmd: cmd, in: in, out: json.NewDecoder(out)}
	r, err := c.answer()
	if err != nil {
		c.stop()
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	c.address = r.Address
	return c, nil
}

func (c *child) answer() (reply, error) {
	var r reply
	if err := c.out.Decode(&r); err != nil {
		return r, err
	}
	if r.Error != "" {
		return r, fmt.Errorf("the server's process: %s", r.Error)
	}
	return r, nil
}

func (c *child) ask(format string, args ...any) (reply, error) {
	if _, err := fmt.Fprintf(c.in, format+"\n", args...); err != nil {
		return reply{}, err
	}
	return c.answer()
}

// stop ends the process: it ends when its stdin does.
func (c *child) stop() {
	c.in.Close()
	done := make(chan struct{})
	go func() {
		_ = c.cmd.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		_ = c.cmd.Process.Kill()
		<-done
	}
}
