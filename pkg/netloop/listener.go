package netloop

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const (
	defaultBacklog = 4096 // the kernel caps it at net.core.somaxconn
	acceptsPerTurn = 64
	acceptPause    = 100 * time.Millisecond // when descriptors have run out
	exhaustedPause = time.Minute            // between two calls of OnExhausted
)

// ListenOptions of a listener. The zero value means the defaults.
type ListenOptions struct {
	Backlog        int         // 4096
	TLS            *tls.Config // nil: plain
	StartTLS       bool        // leaves it to the driver when TLS begins; see Conn.ListenerTLS
	UnixMode       os.FileMode // permissions of a unix socket; 0: left to the umask
	ReusePort      bool        // several processes may listen on the port
	MaxConnections int         // 0: no limit
	OnRefuse       []byte      // written to a connection above the limit, before it is closed
	KeepAlive      KeepAlive   // of accepted connections
	OnExhausted    func()      // called on the loop when descriptors have run out, at most once a minute; or nil
}

// Accept gives a new connection its driver, on the loop that will own it.
// Returning nil closes the connection.
type Accept func(l *Loop, c *Conn) Driver

// Listener accepts connections for a group of loops. Its methods may be called
// from any goroutine.
type Listener struct {
	group  *Group
	loop   *Loop // accepts
	o      ListenOptions
	accept Accept
	addr   string
	unix   string // path to remove
	slot   int32  // loop goroutine only
	told   int64  // when descriptors had run out, by the loop's clock; loop goroutine only

	tls      atomic.Pointer[listenTLS]
	max      atomic.Int64
	live     atomic.Int64
	patience atomic.Uint32 // KeepAlive.patience

	mu    sync.Mutex
	fd    int // -1: closed
	spare int // kept for the moment when descriptors run out
}

// listenTLS is how a listener speaks TLS, nil cfg for not at all.
type listenTLS struct {
	cfg  *tls.Config
	late bool // left to the driver
}

// Listen listens on addr: a literal IP:port ("tcp"; port 0 takes a free one)
// or a path ("unix"). accept is called for every connection.
func Listen(g *Group, network, addr string, o ListenOptions, accept Accept) (*Listener, error) {
	n := &Listener{group: g, loop: g.loops[0], o: o, accept: accept, spare: -1}
	n.setTLS(o.TLS, o.StartTLS)
	n.max.Store(int64(o.MaxConnections))
	if err := n.open(network, addr); err != nil {
		return nil, fmt.Errorf("listening on %q: %w", addr, err)
	}
	if !n.loop.Post(n.register) {
		n.closeSocket()
		return nil, fmt.Errorf("listening on %q: %w", addr, ErrStopped)
	}
	return n, nil
}

// CheckListen returns the error that [Listen] would meet at a TCP address now. It
// does not listen for that, as who connected just then would be dropped.
func CheckListen(addr string) error {
	fd, err := new(Listener).bind("tcp", addr)
	if err == nil {
		syscall.Close(fd)
	}
	return err
}

func (n *Listener) open(network, addr string) error {
	fd, err := n.bind(network, addr)
	if err != nil {
		return err
	}
	if err := syscall.Listen(fd, cmp.Or(n.o.Backlog, defaultBacklog)); err != nil {
		syscall.Close(fd)
		return fmt.Errorf("listen: %w", err)
	}
	n.fd = fd
	n.spare = openSpare()
	if bound, err := syscall.Getsockname(fd); err == nil {
		n.addr = formatAddr(bound)
	}
	return nil
}

// bind makes a socket that has the address.
func (n *Listener) bind(network, addr string) (int, error) {
	family, sa, err := parseAddr(network, addr)
	if err != nil {
		return -1, err
	}
	if family == syscall.AF_UNIX {
		removeStale(addr)
	}
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	if err := n.name(fd, family, sa, addr); err != nil {
		syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (n *Listener) name(fd, family int, sa syscall.Sockaddr, addr string) error {
	const soReusePort = 15
	if family != syscall.AF_UNIX {
		_ = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
		n.setKeepAlive(fd, n.o.KeepAlive)
		if n.o.ReusePort {
			if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, soReusePort, 1); err != nil {
				return fmt.Errorf("SO_REUSEPORT: %w", err)
			}
		}
	}
	if err := syscall.Bind(fd, sa); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if family != syscall.AF_UNIX || addr[0] == '@' {
		return nil
	}
	n.unix = addr
	if n.o.UnixMode == 0 {
		return nil
	}
	return os.Chmod(addr, n.o.UnixMode.Perm())
}

// removeStale removes a socket that nobody listens on any more.
func removeStale(path string) {
	if path[0] == '@' {
		return
	}
	st, err := os.Lstat(path)
	if err != nil || st.Mode().Type() != os.ModeSocket {
		return
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer syscall.Close(fd)
	if err := syscall.Connect(fd, &syscall.SockaddrUnix{Name: path}); errors.Is(err, syscall.ECONNREFUSED) {
		_ = os.Remove(path) // if it fails, bind will say so
	}
}

func openSpare() int {
	fd, err := syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return fd
}

// register makes the loop watch the socket; on the loop's goroutine.
func (n *Listener) register() {
	l := n.loop
	n.slot = firstSlot - int32(len(l.accepts))
	l.accepts = append(l.accepts, n)
	n.watch()
}

// watch is level-triggered: a full turn simply continues in the next iteration.
func (n *Listener) watch() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fd >= 0 {
		_ = n.loop.register(n.fd, syscall.EPOLLIN, n.slot, 0) // of a valid descriptor, only without memory
	}
}

// acceptSome takes what waits in the queue, so many per turn.
func (n *Listener) acceptSome() {
	for range acceptsPerTurn {
		var from syscall.RawSockaddrAny
		n.mu.Lock()
		if n.fd < 0 {
			n.mu.Unlock()
			n.loop.accepts[firstSlot-n.slot] = nil
			return
		}
		fd, errno := accept(n.fd, &from)
		n.mu.Unlock()
		switch errno {
		case 0:
			n.take(fd, &from)
		case syscall.EAGAIN:
			return
		case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM:
			n.exhausted()
			return
		default: // EINTR, ECONNABORTED and the peer's network errors: the next one
		}
	}
}

// exhausted refuses what waits, with the spare descriptor, and then pauses:
// clients see a closed connection instead of none at all.
func (n *Listener) exhausted() {
	if now := n.loop.Now(); n.o.OnExhausted != nil && (n.told == 0 || now-n.told >= int64(exhaustedPause)) {
		n.told = now
		n.o.OnExhausted()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fd < 0 {
		return
	}
	for range acceptsPerTurn {
		if n.spare >= 0 {
			syscall.Close(n.spare)
		}
		var from syscall.RawSockaddrAny
		fd, errno := accept(n.fd, &from)
		if errno == 0 {
			syscall.Close(fd)
		}
		n.spare = openSpare()
		if errno != 0 || n.spare < 0 {
			break
		}
	}
	_ = syscall.EpollCtl(n.loop.epfd, syscall.EPOLL_CTL_DEL, n.fd, nil)
	n.loop.After(acceptPause, n.watch)
}

// take gives an accepted socket to the least loaded loop.
func (n *Listener) take(fd int, from *syscall.RawSockaddrAny) {
	if limit := n.max.Load(); limit > 0 && n.live.Load() >= limit {
		n.refuse(fd)
		return
	}
	n.live.Add(1)
	remote := n.remoteOf(from)
	to := n.group.pick()
	if to == n.loop {
		n.adopt(to, fd, remote)
		return
	}
	if !to.Post(func() { n.adopt(to, fd, remote) }) {
		n.live.Add(-1)
		syscall.Close(fd)
	}
}

func (n *Listener) remoteOf(from *syscall.RawSockaddrAny) netip.AddrPort {
	switch from.Addr.Family {
	case syscall.AF_INET:
		sa := (*syscall.RawSockaddrInet4)(unsafe.Pointer(from))
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), bigEndian(sa.Port))
	case syscall.AF_INET6:
		sa := (*syscall.RawSockaddrInet6)(unsafe.Pointer(from))
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), bigEndian(sa.Port))
	}
	return netip.AddrPort{}
}

// bigEndian reads a port as the kernel stores it.
func bigEndian(port uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(&port))
	return uint16(b[0])<<8 | uint16(b[1])
}

// refuse says why, if there is something to say and no TLS to say it through.
func (n *Listener) refuse(fd int) {
	if t := n.tls.Load(); len(n.o.OnRefuse) > 0 && (t.cfg == nil || t.late) {
		_, _ = send(int32(fd), n.o.OnRefuse) // nothing can be done for a peer that is gone
		_ = syscall.Shutdown(fd, syscall.SHUT_WR)
		// Unread input would turn the close into a reset that overtakes the message.
		var b [512]byte
		_, _ = recv(int32(fd), b[:])
	}
	syscall.Close(fd)
}

// adopt makes a connection of an accepted socket, on its loop.
func (n *Listener) adopt(l *Loop, fd int, remote netip.AddrPort) {
	c := l.newConn(nil, Downstream)
	c.listener, c.remote = n, remote
	c.flags |= isWritable
	if remote.IsValid() {
		setTCP(fd)
		c.setPatience(uint16(n.patience.Load()))
	} else {
		c.flags |= isUnix
	}
	var cfg *tls.Config
	if t := n.tls.Load(); !t.late {
		cfg = t.cfg
	}
	l.take(c, fd, cfg)
	if c.driver = n.accept(l, c); c.driver == nil {
		c.Close()
	}
}

// Addr returns the address that is listened on: IP:port or a path.
func (n *Listener) Addr() string { return n.addr }

// Connections returns how many accepted connections are open.
func (n *Listener) Connections() int { return int(n.live.Load()) }

// SetTLS changes the configuration for connections accepted from now on.
func (n *Listener) SetTLS(cfg *tls.Config) { n.setTLS(cfg, false) }

// SetStartTLS is SetTLS for a protocol whose driver says when TLS begins.
func (n *Listener) SetStartTLS(cfg *tls.Config) { n.setTLS(cfg, true) }

func (n *Listener) setTLS(cfg *tls.Config, late bool) { n.tls.Store(&listenTLS{cfg, late}) }

// ListenerTLS is what the listener that accepted the connection has for
// [Conn.StartTLS], nil where it has nothing.
func (c *Conn) ListenerTLS() *tls.Config {
	if c.listener == nil {
		return nil
	}
	if t := c.listener.tls.Load(); t.late {
		return t.cfg
	}
	return nil
}

// SetKeepAlive changes the probes of connections accepted from now on, which must not be none.
func (n *Listener) SetKeepAlive(k KeepAlive) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fd >= 0 {
		n.setKeepAlive(n.fd, k)
	}
}

// setKeepAlive tells the listening socket, from which those that it accepts take the options over.
func (n *Listener) setKeepAlive(fd int, k KeepAlive) {
	k.set(fd)
	n.patience.Store(uint32(k.patience()))
}

// SetMaxConnections changes the limit; 0: none. Open connections stay.
func (n *Listener) SetMaxConnections(limit int) { n.max.Store(int64(limit)) }

// Close stops accepting, at once. Accepted connections live on.
func (n *Listener) Close() {
	n.closeSocket()
	n.loop.Post(func() { n.loop.accepts[firstSlot-n.slot] = nil })
}

func (n *Listener) closeSocket() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fd < 0 {
		return
	}
	syscall.Close(n.fd)
	n.fd = -1
	if n.spare >= 0 {
		syscall.Close(n.spare)
	}
	if n.unix != "" {
		_ = os.Remove(n.unix) // a successor may have done so
	}
}
