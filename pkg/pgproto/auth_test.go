package pgproto_test

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

const (
	testNonce    = "rOprNGfwEbeRWgbNEkqO"
	testVerifier = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)

// TestSCRAMServerVector is the example of RFC 7677, section 3, from the server's side.
func TestSCRAMServerVector(t *testing.T) {
	t.Parallel()
	verifier, err := pgproto.ParseVerifier(testVerifier)
	if err != nil {
		t.Fatal(err)
	}
	s := pgproto.SCRAMServer{Verifier: verifier, Nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"}
	first, err := s.First(pgproto.MechanismSCRAM, []byte("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(first), "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"; got != want {
		t.Errorf("first message\n got %s\nwant %s", got, want)
	}
	final, err := s.Final([]byte("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(final), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="; got != want {
		t.Errorf("final message\n got %s\nwant %s", got, want)
	}
}

func TestVerifier(t *testing.T) {
	t.Parallel()
	keys, err := pgproto.DeriveSCRAM("pencil", mustVerifier(t).Salt, 4096)
	if err != nil {
		t.Fatal(err)
	}
	v := keys.Verifier(mustVerifier(t).Salt, 4096)
	if got := v.String(); got != testVerifier {
		t.Errorf("derived\n got %s\nwant %s", got, testVerifier)
	}
	for _, bad := range []string{
		"", "pencil", "SCRAM-SHA-256$", "SCRAM-SHA-256$4096$a:b", strings.Replace(testVerifier, "4096", "0", 1), strings.Replace(testVerifier, "4096", "x", 1),
		strings.Replace(testVerifier, "W22Z", "!", 1), strings.Replace(testVerifier, "WG5d", "", 1), testVerifier[:len(testVerifier)-4],
	} {
		if _, err := pgproto.ParseVerifier(bad); err == nil {
			t.Errorf("ParseVerifier(%q) takes it", bad)
		}
	}
}

func mustVerifier(t *testing.T) pgproto.Verifier {
	t.Helper()
	v, err := pgproto.ParseVerifier(testVerifier)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// talk lets a client and a server authenticate, and returns the error of each. between may change what each says.
func talk(t *testing.T, client pgproto.AuthConfig, server pgproto.AuthServerConfig, between func(toClient bool, message []byte) []byte) (clientErr, serverErr error) {
	t.Helper()
	lim := pgproto.DefaultLimits()
	payload := func(message []byte) []byte {
		_, p, n, err := pgproto.ParseMessage(message, &lim)
		if err != nil || n != len(message) {
			t.Fatalf("%q is no message: %v", message, err)
		}
		return p
	}
	s, err := pgproto.NewAuthServer(server)
	if err != nil {
		t.Fatal(err)
	}
	c := pgproto.NewAuth(client)
	toClient, admitted := s.Start(nil), false
	for range 10 {
		answer, done, err := c.Step(nil, payload(between(true, toClient)))
		if err != nil || done {
			return err, nil
		}
		if admitted {
			toClient = pgproto.AppendAuthentication(nil, pgproto.AuthOK, nil)
			continue
		}
		toClient, admitted, err = s.Step(nil, payload(between(false, answer)))
		if err != nil {
			return nil, err
		}
		if admitted && len(toClient) == 0 {
			toClient = pgproto.AppendAuthentication(nil, pgproto.AuthOK, nil)
		}
	}
	t.Fatal("client and server do not come to an end")
	return nil, nil
}

func unchanged(_ bool, message []byte) []byte { return message }

func TestClientAndServerAgree(t *testing.T) {
	t.Parallel()
	binding := []byte("hash of a certificate")
	const every = everyMethod
	tests := []struct {
		name      string
		client    pgproto.AuthConfig
		server    pgproto.AuthServerConfig
		clientErr error
		serverErr error
	}{
		{"cleartext", pgproto.AuthConfig{Password: "x", Allow: every}, pgproto.AuthServerConfig{Method: pgproto.MethodCleartext, Password: "x"}, nil, nil},
		{"cleartext, wrong", pgproto.AuthConfig{Password: "y", Allow: every}, pgproto.AuthServerConfig{Method: pgproto.MethodCleartext, Password: "x"}, nil, pgproto.ErrAuthFailed},
		{"md5", pgproto.AuthConfig{User: "u", Password: "x", Allow: every}, pgproto.AuthServerConfig{Method: pgproto.MethodMD5, User: "u", Password: "x"}, nil, nil},
		{"md5, stored", pgproto.AuthConfig{User: "u", Password: "x", Allow: every}, pgproto.AuthServerConfig{Method: pgproto.MethodMD5, User: "u", Password: pgproto.MD5Stored("u", "x")}, nil, nil},
		{"md5, another user", pgproto.AuthConfig{User: "v", Password: "x", Allow: every}, pgproto.AuthServerConfig{Method: pgproto.MethodMD5, User: "u", Password: "x"}, nil, pgproto.ErrAuthFailed},
		{"scram", pgproto.AuthConfig{Password: "x", Allow: every}, pgproto.AuthServerConfig{Method: pgproto.MethodSCRAM, Password: "x"}, nil, nil},
		{"scram, stored", pgproto.AuthConfig{Password: "pencil", Allow: every}, pgproto.AuthServerConfig{Method: pgproto.MethodSCRAM, Password: testVerifier}, nil, nil},
		{"scram, wrong", pgproto.AuthConfig{Password: "pen", Allow: every}, pgproto.AuthServerConfig{Method: pgproto.MethodSCRAM, Password: testVerifier}, nil, pgproto.ErrAuthFailed},
		{"scram-plus", pgproto.AuthConfig{Password: "x", Allow: every, Binding: binding}, pgproto.AuthServerConfig{Method: pgproto.MethodSCRAM, Password: "x", Binding: binding}, nil, nil},
		{"scram-plus, another certificate", pgproto.AuthConfig{Password: "x", Allow: every, Binding: []byte("other")}, pgproto.AuthServerConfig{Method: pgproto.MethodSCRAM, Password: "x", Binding: binding}, nil, pgproto.ErrAuthFailed},
		{"client can bind, server can't", pgproto.AuthConfig{Password: "x", Allow: every, Binding: binding}, pgproto.AuthServerConfig{Method: pgproto.MethodSCRAM, Password: "x"}, nil, nil},
		{"client must bind, server can't", pgproto.AuthConfig{Password: "x", Allow: pgproto.MethodSCRAMPlus, Binding: binding}, pgproto.AuthServerConfig{Method: pgproto.MethodSCRAM, Password: "x"}, pgproto.ErrMethodRefused, nil},
		{"server can bind, client can't", pgproto.AuthConfig{Password: "x", Allow: every}, pgproto.AuthServerConfig{Method: pgproto.MethodSCRAM, Password: "x", Binding: binding}, nil, nil},
		{"no such user", pgproto.AuthConfig{Password: "x", Allow: every}, pgproto.AuthServerConfig{Method: pgproto.MethodSCRAM, Password: "x", Doomed: true}, nil, pgproto.ErrAuthFailed},
		{"no such user, md5", pgproto.AuthConfig{Password: "x", Allow: every}, pgproto.AuthServerConfig{Method: pgproto.MethodMD5, Password: "x", Doomed: true}, nil, pgproto.ErrAuthFailed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.client.Nonce = testNonce
			clientErr, serverErr := talk(t, tt.client, tt.server, unchanged)
			if !errors.Is(clientErr, tt.clientErr) || !errors.Is(serverErr, tt.serverErr) {
				t.Errorf("client: %v, want %v; server: %v, want %v", clientErr, tt.clientErr, serverErr, tt.serverErr)
			}
		})
	}
}

// TestSomebodyInBetween is what an attacker between both could do.
func TestSomebodyInBetween(t *testing.T) {
	t.Parallel()
	binding := []byte("hash of a certificate")
	client := pgproto.AuthConfig{Password: "x", Allow: everyMethod, Binding: binding, Nonce: testNonce}
	server := pgproto.AuthServerConfig{Method: pgproto.MethodSCRAM, Password: "x", Binding: binding}
	t.Run("who takes out the better mechanism is found out by the server", func(t *testing.T) {
		t.Parallel()
		_, err := talk(t, client, server, func(toClient bool, message []byte) []byte {
			if toClient && bytes.Contains(message, []byte(pgproto.MechanismSCRAMPlus)) {
				return pgproto.AppendAuthenticationSASL(nil, pgproto.MechanismSCRAM)
			}
			return message
		})
		if err == nil || !strings.Contains(err.Error(), "thinks that the server does not") {
			t.Errorf("server: %v", err)
		}
	})
	t.Run("who changes the server's signature is found out by the client", func(t *testing.T) {
		t.Parallel()
		err, _ := talk(t, client, server, func(toClient bool, message []byte) []byte {
			if i := bytes.Index(message, []byte("v=")); toClient && i >= 0 {
				message[i+3] ^= 1
			}
			return message
		})
		if !errors.Is(err, pgproto.ErrServerFalse) {
			t.Errorf("client: %v", err)
		}
	})
	t.Run("who says OK for the server is found out by the client", func(t *testing.T) {
		t.Parallel()
		err, _ := talk(t, client, server, func(toClient bool, message []byte) []byte {
			if toClient && !bytes.Contains(message, []byte("SCRAM")) {
				return pgproto.AppendAuthentication(nil, pgproto.AuthOK, nil)
			}
			return message
		})
		if !errors.Is(err, pgproto.ErrServerFalse) {
			t.Errorf("client: %v", err)
		}
	})
}

// TestHostileServer shows that a server can't make the client show its password, spend its time or its memory.
func TestHostileServer(t *testing.T) {
	t.Parallel()
	auth := func(code pgproto.AuthCode, data string) []byte { return append(be32(uint32(code)), data...) }
	sasl := auth(pgproto.AuthSASL, "SCRAM-SHA-256\x00\x00")
	first := "r=" + testNonce + "more,s=W22ZaJ0SNY7soEsUEjb6gQ==,i="
	tests := []struct {
		name     string
		payloads [][]byte
		want     string
	}{
		{"empty message", [][]byte{{}}, "has 0 bytes"},
		{"GSSAPI", [][]byte{auth(pgproto.AuthGSS, "")}, "refused"},
		{"unknown method", [][]byte{auth(99, "")}, "refused"},
		{"cleartext after SCRAM began", [][]byte{sasl, auth(pgproto.AuthCleartext, "")}, "refused"},
		{"md5 with a short salt", [][]byte{auth(pgproto.AuthMD5, "abc")}, "salt"},
		{"unknown mechanisms", [][]byte{auth(pgproto.AuthSASL, "OAUTHBEARER\x00\x00")}, "OAUTHBEARER"},
		{"mechanisms without an end", [][]byte{auth(pgproto.AuthSASL, "SCRAM-SHA-256\x00")}, "malformed"},
		{"too many mechanisms", [][]byte{auth(pgproto.AuthSASL, strings.Repeat("x\x00", 40)+"\x00")}, "malformed"},
		{"SASL twice", [][]byte{sasl, sasl}, "refused"},
		{"continue out of turn", [][]byte{auth(pgproto.AuthSASLContinue, first+"4096")}, "out of turn"},
		{"final out of turn", [][]byte{sasl, auth(pgproto.AuthSASLFinal, "v=")}, "out of turn"},
		{"continue twice", [][]byte{sasl, auth(pgproto.AuthSASLContinue, first+"1"), auth(pgproto.AuthSASLContinue, first+"1")}, "out of turn"},
		{"too many rounds", [][]byte{sasl, auth(pgproto.AuthSASLContinue, first+"2000000000")}, "rounds"},
		{"rounds that are none", [][]byte{sasl, auth(pgproto.AuthSASLContinue, first+"-1")}, "malformed"},
		{"rounds beyond measure", [][]byte{sasl, auth(pgproto.AuthSASLContinue, first+strings.Repeat("9", 100))}, "malformed"},
		{"a nonce of its own", [][]byte{sasl, auth(pgproto.AuthSASLContinue, "r=other,s=QQ==,i=1")}, "not genuine"},
		{"our nonce alone", [][]byte{sasl, auth(pgproto.AuthSASLContinue, "r="+testNonce+",s=QQ==,i=1")}, "not genuine"},
		{"no salt", [][]byte{sasl, auth(pgproto.AuthSASLContinue, "r="+testNonce+"x,s=,i=1")}, "malformed"},
		{"an extension that must be known", [][]byte{sasl, auth(pgproto.AuthSASLContinue, "m=x,"+first+"1")}, "lacks attribute"},
		{"a huge message", [][]byte{sasl, auth(pgproto.AuthSASLContinue, first+"1,"+strings.Repeat("x", 10000))}, "10"},
		{"an error", [][]byte{sasl, auth(pgproto.AuthSASLContinue, first+"1"), auth(pgproto.AuthSASLFinal, "e=other-error")}, "other-error"},
		{"a false signature", [][]byte{sasl, auth(pgproto.AuthSASLContinue, first+"1"), auth(pgproto.AuthSASLFinal, "v="+strings.Repeat("A", 43)+"=")}, "not genuine"},
		{"OK twice", [][]byte{auth(pgproto.AuthOK, ""), auth(pgproto.AuthOK, "")}, "after the end"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := pgproto.NewAuth(pgproto.AuthConfig{User: "u", Password: "secret word", Allow: everyMethod &^ pgproto.MethodCleartext, Nonce: testNonce})
			var err error
			for i, payload := range tt.payloads {
				var out []byte
				if out, _, err = a.Step(nil, payload); bytes.Contains(out, []byte("secret word")) {
					t.Fatal("the password is shown")
				}
				if err != nil && i < len(tt.payloads)-1 {
					t.Fatalf("payload %d: %v", i, err)
				}
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestClientNeedsAGoodNonce(t *testing.T) {
	t.Parallel()
	for _, nonce := range []string{"", "short", "with,comma-and-long-enough", "with space and long enough"} {
		a := pgproto.NewAuth(pgproto.AuthConfig{Password: "x", Allow: everyMethod, Nonce: nonce})
		if _, _, err := a.Step(nil, append(be32(10), "SCRAM-SHA-256\x00\x00"...)); err == nil {
			t.Errorf("nonce %q is taken", nonce)
		}
	}
}

func TestDeriverIsAsked(t *testing.T) {
	t.Parallel()
	calls := 0
	config := pgproto.AuthConfig{Password: "x", Allow: everyMethod, Nonce: testNonce, Derive: func(password string, salt []byte, iterations int) (pgproto.SCRAMKeys, error) {
		calls++
		return pgproto.DeriveSCRAM(password, salt, iterations)
	}}
	if clientErr, serverErr := talk(t, config, pgproto.AuthServerConfig{Method: pgproto.MethodSCRAM, Password: "x"}, unchanged); clientErr != nil || serverErr != nil || calls != 1 {
		t.Errorf("%v, %v, %d calls", clientErr, serverErr, calls)
	}
}

// TestMD5Password: whether the answer fits a server is TestLoginAtAServer's to show.
func TestMD5Password(t *testing.T) {
	t.Parallel()
	got := pgproto.MD5Stored("joe", "xyzzy")
	if !pgproto.IsMD5Stored(got) || pgproto.IsMD5Stored("md5") || pgproto.IsMD5Stored("md5zzd30a2d2e58f2b1a1ea8d1e1fa7ea6d") {
		t.Errorf("IsMD5Stored is wrong about %q", got)
	}
	if a, b := pgproto.MD5Password("joe", "xyzzy", []byte("salt")), pgproto.MD5Response(got, []byte("salt")); a != b || a == got {
		t.Errorf("answers %q and %q differ", a, b)
	}
}

func TestEndpointBinding(t *testing.T) {
	t.Parallel()
	for algorithm, want := range map[x509.SignatureAlgorithm]int{
		x509.SHA1WithRSA: 32, x509.SHA256WithRSA: 32, x509.ECDSAWithSHA256: 32, x509.SHA384WithRSAPSS: 48, x509.ECDSAWithSHA512: 64, x509.PureEd25519: 0,
	} {
		if got := pgproto.EndpointBinding(&x509.Certificate{Raw: []byte("x"), SignatureAlgorithm: algorithm}); len(got) != want {
			t.Errorf("%v: %d bytes, want %d", algorithm, len(got), want)
		}
	}
}

func be32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }
