package dbtest

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// Methods that MariaDB does not have, and FakeMySQL does.
const (
	CachingSHA2 = "caching_sha2_password"
	SHA256      = "sha256_password"
	Clear       = "mysql_clear_password" // as servers with PAM or LDAP behind them ask for it
)

// FakeMySQL answers as MySQL 8 does to who logs in by one of these methods, which no server of Debian's can. Any user may
// log in, with Password. It answers each query with one row that repeats it, and knows COM_PING, COM_INIT_DB and COM_QUIT besides. It
// shares no code with the product; the clients of MariaDB vouch for it.
type FakeMySQL struct {
	// Read-only after construction.
	plugin   string
	pki      *redistest.PKI // nil for no TLS
	key      *rsa.PrivateKey
	listener net.Listener

	mu     sync.Mutex // guards what follows
	cached bool       // the server has the password's hash in its cache
	logins []string
	conns  map[net.Conn]bool

	wg sync.WaitGroup
}

// StartFakeMySQL starts a fake server whose users have the given method. It offers TLS if it is given an authority.
func StartFakeMySQL(tb TB, plugin string, pki *redistest.PKI) *FakeMySQL {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatalf("making a key: %v", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("listening: %v", err)
	}
	f := &FakeMySQL{plugin: plugin, pki: pki, key: key, listener: listener, conns: map[net.Conn]bool{}}
	f.wg.Go(f.accept)
	tb.Cleanup(f.close)
	return f
}

// Addr returns "127.0.0.1:port".
func (f *FakeMySQL) Addr() string { return f.listener.Addr().String() }

// Logins returns how each client showed its password, in order: "fast", "cleartext" (which the server takes over TLS only) or "rsa"; "empty" or
// "denied" for those it refused.
func (f *FakeMySQL) Logins() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.logins...)
}

// Remember fills the cache of caching_sha2_password, as another client's login does.
func (f *FakeMySQL) Remember() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cached = true
}

// PublicKey returns the server's public key in PEM, as clients may have it in a file.
func (f *FakeMySQL) PublicKey() []byte {
	der, err := x509.MarshalPKIXPublicKey(&f.key.PublicKey)
	if err != nil {
		return nil
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func (f *FakeMySQL) close() {
	_ = f.listener.Close()
	f.mu.Lock()
	for conn := range f.conns {
		_ = conn.Close()
	}
	f.mu.Unlock()
	f.wg.Wait()
}

func (f *FakeMySQL) accept() {
	for {
		conn, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		f.conns[conn] = true
		f.mu.Unlock()
		f.wg.Go(func() {
			s := &fakeSession{server: f, conn: conn, r: bufio.NewReader(conn)}
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
			_ = s.run() // a client that leaves, or breaks the protocol, is the test's affair
			_ = s.conn.Close()
			f.mu.Lock()
			delete(f.conns, conn)
			f.mu.Unlock()
		})
	}
}

// fakeSession is one client of a FakeMySQL.
type fakeSession struct {
	server   *FakeMySQL
	conn     net.Conn
	r        *bufio.Reader
	seq      byte
	secure   bool
	scramble []byte
}

// What the fake server can do: its flags by their numbers in the protocol's documentation.
const (
	fakeCapabilities = 1<<0 | 1<<3 | 1<<9 | 1<<13 | 1<<15 | 1<<19 | 1<<20 | 1<<21
	fakeSSL          = 1 << 11
)

var errFake = errors.New("fake server: client breaks the protocol")

func (s *fakeSession) run() error {
	if err := s.greet(); err != nil {
		return err
	}
	plugin, response, err := s.readResponse()
	if err != nil {
		return err
	}
	if plugin != s.server.plugin {
		s.newScramble()
		if err := s.write(append(append([]byte("\xfe"+s.server.plugin+"\x00"), s.scramble...), 0)); err != nil {
			return err
		}
		if response, err = s.read(); err != nil {
			return err
		}
	}
	how, err := s.check(response)
	if err != nil {
		return err
	}
	s.server.mu.Lock()
	s.server.logins = append(s.server.logins, how)
	s.server.mu.Unlock()
	if how == "denied" || how == "empty" {
		return s.write([]byte("\xff\x15\x04#28000Access denied"))
	}
	if err := s.ok(); err != nil {
		return err
	}
	return s.commands()
}

func (s *fakeSession) greet() error {
	s.newScramble()
	caps := uint32(fakeCapabilities)
	if s.server.pki != nil {
		caps |= fakeSSL
	}
	b := append([]byte("\x0a8.0.99-fake\x00\x07\x00\x00\x00"), s.scramble[:8]...)
	b = append(b, 0, byte(caps), byte(caps>>8), 255, 2, 0, byte(caps>>16), byte(caps>>24), 21)
	b = append(append(b, make([]byte, 10)...), s.scramble[8:]...)
	s.seq = 0
	return s.write(append(append(b, 0), CachingSHA2+"\x00"...))
}

// newScramble makes 20 bytes, none of them zero or beyond ASCII, as MySQL does.
func (s *fakeSession) newScramble() {
	s.scramble = make([]byte, 20)
	_, _ = rand.Read(s.scramble)
	for i, c := range s.scramble {
		s.scramble[i] = c%126 + 1
	}
}

// readConn is a connection of which something has been read already.
type readConn struct {
	net.Conn
	r io.Reader
}

func (c readConn) Read(b []byte) (int, error) { return c.r.Read(b) }

// readResponse reads the answer to the greeting, after TLS if the client wants it.
func (s *fakeSession) readResponse() (plugin string, response []byte, err error) {
	b, err := s.read()
	if err == nil && len(b) == 32 && s.server.pki != nil {
		// A client does not wait for an answer: its handshake may have been read already.
		s.conn, s.secure = tls.Server(readConn{s.conn, s.r}, s.server.pki.ServerConfig()), true
		s.r = bufio.NewReader(s.conn)
		b, err = s.read()
	}
	if err != nil {
		return "", nil, err
	}
	if len(b) < 34 {
		return "", nil, errFake
	}
	caps := binary.LittleEndian.Uint32(b)
	_, b, _ = bytes.Cut(b[32:], []byte{0}) // the user
	if len(b) == 0 || b[0] > 250 || int(b[0]) >= len(b) {
		return "", nil, errFake
	}
	response, b = b[1:1+b[0]], b[1+b[0]:]
	if caps&(1<<3) != 0 {
		_, b, _ = bytes.Cut(b, []byte{0}) // the database
	}
	name, _, _ := bytes.Cut(b, []byte{0})
	return string(name), response, nil
}

// check finds out whether the client knows the password.
func (s *fakeSession) check(response []byte) (how string, err error) {
	switch s.server.plugin {
	case SHA256:
		return s.readPassword(response, 1)
	case Clear: // over any link: it is the client's to refuse
		return verdict("cleartext", string(response)), nil
	}
	if len(response) == 0 {
		return "empty", nil
	}
	s.server.mu.Lock()
	cached := s.server.cached
	s.server.mu.Unlock()
	if cached {
		if !bytes.Equal(response, scrambled(Password, s.scramble)) {
			return "denied", nil
		}
		return "fast", s.write([]byte{1, 3})
	}
	if err := s.write([]byte{1, 4}); err != nil {
		return "", err
	}
	if response, err = s.read(); err != nil {
		return "", err
	}
	how, err = s.readPassword(response, 2)
	if how == "cleartext" || how == "rsa" {
		s.server.mu.Lock()
		s.server.cached = true
		s.server.mu.Unlock()
	}
	return how, err
}

// readPassword takes the password itself, or the byte that asks for the key to encrypt it with.
func (s *fakeSession) readPassword(b []byte, asks byte) (how string, err error) {
	if s.secure {
		return verdict("cleartext", string(b)), nil
	}
	if bytes.Equal(b, []byte{asks}) {
		if err := s.write(append([]byte{1}, s.server.PublicKey()...)); err != nil {
			return "", err
		}
		if b, err = s.read(); err != nil {
			return "", err
		}
	}
	return verdict("rsa", s.decrypt(b)), nil
}

// decrypt returns nothing for a password in clear over a link that can be read, and for nonsense.
func (s *fakeSession) decrypt(b []byte) string {
	plain, err := rsa.DecryptOAEP(sha1.New(), nil, s.server.key, b, nil)
	if err != nil {
		return ""
	}
	for i := range plain {
		plain[i] ^= s.scramble[i%len(s.scramble)]
	}
	return string(plain)
}

func verdict(how, password string) string {
	if password != Password+"\x00" {
		return "denied"
	}
	return how
}

// scrambled is SHA256(p) XOR SHA256(SHA256(SHA256(p)), scramble).
func scrambled(password string, scramble []byte) []byte {
	once := sha256.Sum256([]byte(password))
	twice := sha256.Sum256(once[:])
	mask := sha256.Sum256(append(twice[:], scramble...))
	for i := range mask {
		mask[i] ^= once[i]
	}
	return mask[:]
}

func (s *fakeSession) commands() error {
	for {
		b, err := s.read()
		if err != nil || len(b) == 0 {
			return err
		}
		switch b[0] {
		case 0x01:
			return nil
		case 0x02, 0x0e:
			err = s.ok()
		case 0x03:
			err = s.row(b[1:])
		default:
			err = s.write([]byte("\xff\x17\x04#08S01Unknown command"))
		}
		if err != nil {
			return err
		}
	}
}

// row answers a query with itself.
func (s *fakeSession) row(sql []byte) error {
	sql = sql[:min(len(sql), 250)]
	const eof = "\xfe\x00\x00\x02\x00"
	column := "\x03def\x00\x00\x00\x01q\x00\x0c\x2d\x00\x00\x01\x00\x00\xfd\x00\x00\x00\x00\x00"
	for _, payload := range []string{"\x01", column, eof, string(append([]byte{byte(len(sql))}, sql...)), eof} {
		if err := s.write([]byte(payload)); err != nil {
			return err
		}
	}
	return nil
}

func (s *fakeSession) ok() error { return s.write([]byte{0, 0, 0, 2, 0, 0, 0}) }

func (s *fakeSession) write(payload []byte) error {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(payload))|uint32(s.seq)<<24)
	s.seq++
	_, err := s.conn.Write(append(b, payload...))
	return err
}

// read reads one packet; it may have 64 KiB. A client counts on from what the server said last.
func (s *fakeSession) read() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(s.r, head[:]); err != nil {
		return nil, err
	}
	size := int(binary.LittleEndian.Uint32(head[:]) & 0xffffff)
	if size > 64<<10 {
		return nil, fmt.Errorf("%w: packet of %d bytes", errFake, size)
	}
	s.seq = head[3] + 1
	b := make([]byte, size)
	_, err := io.ReadFull(s.r, b)
	return b, err
}
