package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/dragoman-mesh/dragoman/bench/gauge"
)

// sample is what one run of one contender showed.
type sample struct {
	Throughput float64 `json:"throughput"` // requests/s
	P50        float64 `json:"p50"`        // us
	P99        float64 `json:"p99"`        // us
	CPU        float64 `json:"cpu"`        // us of the proxy per request
	RSS        float64 `json:"rss"`        // MiB of the proxy after the run
}

// errLoad says that an answer was not what was asked for.
var errLoad = errors.New("load")

// measure puts a load through a contender.
func measure(ctx context.Context, c *contender, s shape, d time.Duration) (sample, error) {
	if s.answer == 0 {
		s.answer = len(c.answer)
	}
	l, err := newLoad(ctx, c.port, s)
	if err != nil {
		return sample{}, fmt.Errorf("%s, %s: %w", c.name, s, err)
	}
	defer l.close()
	before, err := c.cpu()
	if err != nil {
		return sample{}, err
	}
	took, err := l.run(ctx, d)
	if err != nil {
		return sample{}, fmt.Errorf("%s, %s: %w", c.name, s, err)
	}
	after, err := c.cpu()
	if err != nil {
		return sample{}, err
	}
	n := float64(len(l.times))
	slices.Sort(l.times)
	got := sample{
		Throughput: n / took.Seconds(), CPU: float64((after - before).Nanoseconds()) / 1e3 / n,
		P50: float64(l.times[len(l.times)/2]) / 1e3, P99: float64(l.times[len(l.times)*99/100]) / 1e3,
	}
	if c.proc == nil {
		return got, nil
	}
	rss, err := gauge.RSS(c.proc.PID())
	got.RSS = float64(rss) / (1 << 20)
	return got, err
}

// load is the generator: one thread, one epoll, system calls and nothing else, so
// that it costs little beside what it measures.
type load struct {
	epoll   int
	request []byte
	answer  int
	clients []*client
	buf     []byte
	times   []int64 // of each request, in ns
}

// client is one connection, with one request under way.
type client struct {
	fd   int
	sent time.Time
	head []byte // of the response, until it is whole
	left int    // bytes of the body; -1: the head is not there yet
}

func newLoad(ctx context.Context, port int, s shape) (*load, error) {
	l := &load{answer: s.answer, buf: make([]byte, 256<<10), times: make([]int64, 0, 1<<18)}
	l.request = fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: bench.example\r\nUser-Agent: bench\r\nAccept: */*\r\n", s.method, s.path)
	if s.body != "" {
		l.request = fmt.Appendf(l.request, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(s.body))
	}
	l.request = append(append(l.request, "\r\n"...), s.body...)
	var err error
	if l.epoll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	for range s.clients {
		if err := l.connect(ctx, port); err != nil {
			l.close()
			return nil, err
		}
	}
	return l, nil
}

func (l *load) connect(ctx context.Context, port int) error {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	var own int
	var failed error
	if err := raw.Control(func(fd uintptr) { own, failed = syscall.Dup(int(fd)) }); err != nil || failed != nil {
		return errors.Join(err, failed)
	}
	l.clients = append(l.clients, &client{fd: own, left: -1})
	event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(len(l.clients) - 1)}
	return syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_ADD, own, &event)
}

func (l *load) close() {
	for _, c := range l.clients {
		_ = syscall.Close(c.fd) // nothing is lost
	}
	_ = syscall.Close(l.epoll)
}

// run has every client ask again and again for so long, and waits for the last
// answers.
func (l *load) run(ctx context.Context, d time.Duration) (time.Duration, error) {
	start := time.Now()
	for _, c := range l.clients {
		if err := l.ask(c, start); err != nil {
			return 0, err
		}
	}
	const patience = 5000 // ms
	events := make([]syscall.EpollEvent, len(l.clients))
	for waiting := len(l.clients); waiting > 0; {
		n, err := syscall.EpollWait(l.epoll, events, patience)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return 0, os.NewSyscallError("epoll_wait", err)
		case n == 0:
			return 0, fmt.Errorf("%w: no answer in time", errLoad)
		case ctx.Err() != nil:
			return 0, ctx.Err()
		}
		for i := range events[:n] {
			c := l.clients[events[i].Fd]
			done, err := l.take(c)
			if err != nil {
				return 0, err
			}
			if !done {
				continue
			}
			now := time.Now()
			l.times = append(l.times, int64(now.Sub(c.sent)))
			if now.Sub(start) >= d {
				waiting--
			} else if err := l.ask(c, now); err != nil {
				return 0, err
			}
		}
	}
	return time.Since(start), nil
}

func (l *load) ask(c *client, now time.Time) error {
	c.sent, c.left, c.head = now, -1, c.head[:0]
	n, err := syscall.Write(c.fd, l.request)
	if err == nil && n < len(l.request) {
		err = errLoad // a request fits into any socket's buffer
	}
	return err
}

// take reads what has come. It tells whether the answer is whole.
func (l *load) take(c *client) (bool, error) {
	n, err := syscall.Read(c.fd, l.buf)
	if err != nil {
		if errors.Is(err, syscall.EAGAIN) {
			return false, nil
		}
		return false, err
	}
	if n == 0 {
		return false, fmt.Errorf("%w: the connection was closed", errLoad)
	}
	if c.left >= 0 {
		c.left -= n
		return c.over()
	}
	c.head = append(c.head, l.buf[:n]...)
	end := bytes.Index(c.head, []byte("\r\n\r\n"))
	if end < 0 {
		return false, nil
	}
	if err := l.check(string(c.head[:end])); err != nil {
		return false, err
	}
	c.left = l.answer - (len(c.head) - end - 4)
	return c.over()
}

func (c *client) over() (bool, error) {
	if c.left < 0 {
		return false, fmt.Errorf("%w: %d bytes too many", errLoad, -c.left)
	}
	return c.left == 0, nil
}

// check refuses an answer other than the one that all contenders should give.
func (l *load) check(head string) error {
	length := "content-length: " + strconv.Itoa(l.answer)
	if !strings.HasPrefix(head, "HTTP/1.1 200 ") || !strings.Contains(strings.ToLower(head), length) {
		return fmt.Errorf("%w: the answer is %.200q, want 200 and %q", errLoad, head, length)
	}
	return nil
}
