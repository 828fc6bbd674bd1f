package e2e

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// postgresPeer stands before a server of PostgreSQL 15 and takes connections as one of version 17 does: in plain text, with TLS that is asked for,
// and with TLS at once, where the client has to name the protocol by ALPN. It goes on to the server in the same way, in the name of the client's
// certificate, and tells by which mechanism of SASL the client has logged in.
type postgresPeer struct {
	listener  net.Listener
	server    *dbtest.Postgres
	shown     tls.Certificate // with the server's own, channel binding holds
	onward    *tls.Config
	hidesPlus bool
	mechanism atomic.Value // string
}

var errPeer = errors.New("the client does not keep to the protocol")

// startPostgresPeer starts one with the certificate of pki, which is the server's or somebody else's.
func startPostgresPeer(t *testing.T, server *dbtest.Postgres, pki *redistest.PKI, hidesPlus bool) *postgresPeer {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(pki.ServerCertFile, pki.ServerKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &postgresPeer{listener: ln, server: server, shown: pair, hidesPlus: hidesPlus}
	p.mechanism.Store("")
	client, err := tls.LoadX509KeyPair(pki.Issue(dbtest.CertUser, dbtest.CertUser))
	if err != nil {
		t.Fatal(err)
	}
	p.onward = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{client}}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

func (p *postgresPeer) addr() string { return p.listener.Addr().String() }

// sslRequest is what a client asks for TLS with.
var sslRequest = []byte{0, 0, 0, 8, 4, 210, 22, 47}

func (p *postgresPeer) serve(c net.Conn) {
	defer c.Close()
	up, err := net.Dial("tcp", p.server.Addr())
	if err != nil {
		return
	}
	defer up.Close()
	down, up, err := p.encrypt(c, up)
	if err != nil {
		return
	}
	if p.hidesPlus {
		up = &plusHider{Conn: up}
	}
	go func() {
		_, _ = io.Copy(down, up)
		_ = c.Close()
	}()
	if err := p.login(down, up); err == nil {
		_, _ = io.Copy(up, down)
	}
}

// encrypt begins with TLS on both sides, if the client wants it.
func (p *postgresPeer) encrypt(c, up net.Conn) (net.Conn, net.Conn, error) {
	head := make([]byte, 1, len(sslRequest))
	if _, err := io.ReadFull(c, head); err != nil {
		return nil, nil, err
	}
	direct := head[0] == 22
	if !direct {
		head = head[:len(sslRequest)]
		if _, err := io.ReadFull(c, head[1:]); err != nil {
			return nil, nil, err
		}
	}
	switch {
	case direct:
		c = &begun{c, bytes.NewReader(head)}
	case bytes.Equal(head, sslRequest):
		if _, err := c.Write([]byte("S")); err != nil {
			return nil, nil, err
		}
	default:
		return &begun{c, bytes.NewReader(head)}, up, nil
	}
	down := tls.Server(c, &tls.Config{
		Certificates: []tls.Certificate{p.shown}, MinVersion: tls.VersionTLS12, NextProtos: []string{"postgresql"}, ClientAuth: tls.RequestClientCert,
	})
	if err := down.Handshake(); err != nil {
		return nil, nil, err
	}
	state := down.ConnectionState()
	if direct && state.NegotiatedProtocol != "postgresql" {
		return nil, nil, errPeer
	}
	answer := make([]byte, 1)
	if _, err := up.Write(sslRequest); err != nil {
		return nil, nil, err
	}
	if _, err := io.ReadFull(up, answer); err != nil || answer[0] != 'S' {
		return nil, nil, errPeer
	}
	onward := p.onward.Clone()
	if len(state.PeerCertificates) == 0 {
		onward.Certificates = nil
	}
	return down, tls.Client(up, onward), nil
}

// login passes the start-up on, and the first message after it, which names the mechanism.
func (p *postgresPeer) login(down, up net.Conn) error {
	if _, err := passMessage(down, up, 0); err != nil {
		return err
	}
	first, err := passMessage(down, up, 1)
	if name, _, found := bytes.Cut(first, []byte{0}); found && bytes.HasPrefix(name, []byte("SCRAM-")) {
		p.mechanism.Store(string(name))
	}
	return err
}

// passMessage passes one message on, and returns what is behind its type, of so many bytes, and its length.
func passMessage(from io.Reader, to io.Writer, typ int) ([]byte, error) {
	head := make([]byte, typ+4)
	if _, err := io.ReadFull(from, head); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[typ:])
	if size < 4 || size > 1<<16 {
		return nil, errPeer
	}
	payload := make([]byte, size-4)
	if _, err := io.ReadFull(from, payload); err != nil {
		return nil, err
	}
	_, err := to.Write(slices.Concat(head, payload))
	return payload, err
}

// begun is a connection of which something has been read already.
type begun struct {
	net.Conn
	head *bytes.Reader
}

func (c *begun) Read(b []byte) (int, error) {
	if c.head.Len() > 0 {
		return c.head.Read(b)
	}
	return c.Conn.Read(b)
}

// plusHider takes channel binding off what a server offers, as somebody in the middle would who cannot do it.
type plusHider struct {
	net.Conn
	rest io.Reader
}

func (c *plusHider) Read(b []byte) (int, error) {
	if c.rest == nil {
		var offer bytes.Buffer
		if _, err := passMessage(c.Conn, &offer, 1); err != nil {
			return 0, err
		}
		whole := bytes.Replace(offer.Bytes(), []byte("SCRAM-SHA-256-PLUS\x00"), nil, 1)
		binary.BigEndian.PutUint32(whole[1:], uint32(len(whole)-1))
		c.rest = io.MultiReader(bytes.NewReader(whole), c.Conn)
	}
	return c.rest.Read(b)
}
