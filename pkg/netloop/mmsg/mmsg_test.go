package mmsg_test

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/netloop/mmsg"
)

// pair is a socket and one that is connected to it.
func pair(t *testing.T, network string) (syscall.RawConn, net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unixgram" {
		address = filepath.Join(t.TempDir(), "s")
	}
	in, err := net.ListenPacket(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	out, err := net.Dial(network, in.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	raw, err := in.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	return raw, out
}

func TestRead(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"udp", "unixgram"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			raw, out := pair(t, network)
			r, err := mmsg.NewReader(4)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			long := strings.Repeat("x", 60_000)
			var want []string
			for i := range 6 {
				s := fmt.Sprint(i, " ", long[:i*10_000])
				want = append(want, s)
				if _, err := out.Write([]byte(s)); err != nil {
					t.Fatal(err)
				}
			}
			var got []string
			for len(got) < len(want) {
				err := raw.Read(func(fd uintptr) bool {
					n, errno := r.Read(fd)
					if n > r.Size() {
						t.Errorf("%d datagrams at once, there is room for %d", n, r.Size())
					}
					for i := range n {
						b, truncated := r.Datagram(i)
						if truncated {
							t.Error("a datagram was cut off")
						}
						got = append(got, string(b))
					}
					return errno != syscall.EAGAIN
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("datagrams (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTruncated(t *testing.T) {
	t.Parallel()
	raw, out := pair(t, "unixgram")
	if _, err := out.Write(make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	r, err := mmsg.NewReader(1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	err = raw.Read(func(fd uintptr) bool {
		if _, errno := r.Read(fd); errno != 0 {
			return false
		}
		if b, truncated := r.Datagram(0); !truncated || len(b) != 1<<16 {
			t.Errorf("%d bytes of 100000, truncated: %v", len(b), truncated)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestDrops: what arrives and what is dropped is together what was sent.
func TestDrops(t *testing.T) {
	t.Parallel()
	raw, out := pair(t, "udp")
	const sent = 5000
	for range sent {
		if _, err := out.Write([]byte("a:1|c")); err != nil {
			t.Fatal(err)
		}
	}
	r, err := mmsg.NewReader(64)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	arrived := 0
	err = raw.Control(func(fd uintptr) {
		for {
			n, errno := r.Read(fd)
			if errno != 0 {
				break
			}
			arrived += n
		}
		drops, err := mmsg.Drops(fd)
		if err != nil {
			t.Error(err)
		}
		if arrived == sent || arrived+int(drops) != sent {
			t.Errorf("%d arrived and %d were dropped of %d", arrived, drops, sent)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}
