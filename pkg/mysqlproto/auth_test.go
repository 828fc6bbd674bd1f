package mysqlproto_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestResponseVectors has what a MySQL 8 server and its client said to each other, as recorded in the tests of go-sql-driver/mysql
// (auth_test.go); the password is "secret".
func TestResponseVectors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ plugin, scramble, want string }{
		{mysqlproto.PluginCachingSHA2, "5a694a7e1e302538031773" + "7f45162954207b2b76", "662005238fa18cf1abe8388b2b0e6bc4f9aa933cdccc78b2d60fb8961a3d39eb"},
		{mysqlproto.PluginCachingSHA2, "065160720e2a321e4c2f015f7e513e5e53503455", "abc98a92599f0baa0043a531af5eda44b16d6e5622212cbe43f0466e288b7c29"},
		{mysqlproto.PluginNative, "46725c5e01260b743f7217657e671a5f51111815", "35b18c9ffbbd7f356dfcac32d3c0f0a41a30cf2d"},
	} {
		scramble, want := unhex(t, tt.scramble), unhex(t, tt.want)
		got := mysqlproto.NativeResponse("secret", scramble)
		if tt.plugin == mysqlproto.PluginCachingSHA2 {
			got = mysqlproto.CachingSHA2Response("secret", scramble)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %x, want %x", tt.plugin, got, want)
		}
		if !mysqlproto.CheckResponse(tt.plugin, "secret", scramble, want) || mysqlproto.CheckResponse(tt.plugin, "other", scramble, want) ||
			mysqlproto.CheckResponse(tt.plugin, "", scramble, nil) {
			t.Errorf("%s: CheckResponse is wrong", tt.plugin)
		}
	}
	if !mysqlproto.CheckResponse(mysqlproto.PluginCleartext, "secret", nil, []byte("secret\x00")) || mysqlproto.CheckResponse(mysqlproto.PluginEd25519, "secret", nil, nil) {
		t.Error("CheckResponse is wrong")
	}
}

const testScramble = "abcdefghijklmnopqrst"

// server plays a server: it is told what the client answers, nil for nothing, and says what comes next.
type exchange struct {
	plugin string   // that of the greeting
	says   []string // payloads of the server
	want   []string // answers of the client, to the greeting first; "-" for none
	err    string
	done   bool
}

func play(t *testing.T, config mysqlproto.AuthConfig, e exchange) {
	t.Helper()
	config.Random = rand.Reader
	a := mysqlproto.NewAuth(config)
	_, response, err := a.Begin(e.plugin, []byte(testScramble))
	got := []string{string(response)}
	done := false
	for i := 0; i < len(e.says) && err == nil && !done; i++ {
		var out []byte
		var answer bool
		if out, answer, done, err = a.Step(nil, []byte(e.says[i])); !answer {
			out = []byte("-")
		}
		if err == nil && !done {
			got = append(got, string(out))
		}
	}
	if (err == nil) != (e.err == "") || err != nil && !strings.Contains(err.Error(), e.err) {
		t.Fatalf("error %v, want %q", err, e.err)
	}
	if done != e.done {
		t.Errorf("done %v, want %v", done, e.done)
	}
	if strings.Join(got, "|") != strings.Join(e.want, "|") {
		t.Errorf("answers\n got %q\nwant %q", got, e.want)
	}
}

func TestAuthExchanges(t *testing.T) {
	t.Parallel()
	const ok = "\x00\x00\x00\x02\x00\x00\x00"
	sha2 := string(mysqlproto.CachingSHA2Response("secret", []byte(testScramble)))
	native := string(mysqlproto.NativeResponse("secret", []byte(testScramble)))
	other := strings.Repeat("z", 20)
	switchTo := func(plugin, scramble string) string {
		return string((&mysqlproto.AuthSwitch{Plugin: plugin, Data: []byte(scramble)}).AppendTo(nil))
	}
	again, answer := []string{switchTo(mysqlproto.PluginNative, other+"\x00")}, []string{string(mysqlproto.NativeResponse("secret", []byte(other)))}
	plain := mysqlproto.AuthConfig{Password: "secret", Allow: everyMethod}
	secure := plain
	secure.Secure = true
	noPassword := mysqlproto.AuthConfig{Allow: everyMethod}
	fetch := plain
	fetch.FetchPublicKey = true
	tests := []struct {
		name   string
		config mysqlproto.AuthConfig
		exchange
	}{
		{"native", plain, exchange{mysqlproto.PluginNative, []string{ok}, []string{native}, "", true}},
		{"caching, fast", plain, exchange{mysqlproto.PluginCachingSHA2, []string{"\x01\x03", ok}, []string{sha2, "-"}, "", true}},
		{"caching, full over TLS", secure, exchange{mysqlproto.PluginCachingSHA2, []string{"\x01\x04", ok}, []string{sha2, "secret\x00"}, "", true}},
		{"caching, full over a link that can be read", plain, exchange{mysqlproto.PluginCachingSHA2, []string{"\x01\x04"}, []string{sha2}, "refused", false}},
		{"caching, the server's key is asked for", fetch, exchange{mysqlproto.PluginCachingSHA2, []string{"\x01\x04", "\x01no key"}, []string{sha2, "\x02"}, "not in PEM", false}},
		{"caching, full twice", secure, exchange{mysqlproto.PluginCachingSHA2, []string{"\x01\x04", "\x01\x04"}, []string{sha2, "secret\x00"}, "no use", false}},
		{"caching, empty password", noPassword, exchange{mysqlproto.PluginCachingSHA2, []string{ok}, []string{""}, "", true}},
		{"switch to native", plain, exchange{mysqlproto.PluginCachingSHA2, []string{switchTo(mysqlproto.PluginNative, other+"\x00"), ok}, []string{sha2, string(mysqlproto.NativeResponse("secret", []byte(other)))}, "", true}},
		{"switch to caching", plain, exchange{mysqlproto.PluginNative, []string{switchTo(mysqlproto.PluginCachingSHA2, other+"\x00"), "\x01\x03", ok}, []string{native, string(mysqlproto.CachingSHA2Response("secret", []byte(other))), "-"}, "", true}},
		{"switch to cleartext over TLS", secure, exchange{mysqlproto.PluginNative, []string{switchTo(mysqlproto.PluginCleartext, ""), ok}, []string{native, "secret\x00"}, "", true}},
		{"switch to cleartext over a link that can be read", plain, exchange{mysqlproto.PluginNative, []string{switchTo(mysqlproto.PluginCleartext, "")}, []string{native}, "refused", false}},
		{"switch to sha256 over TLS", secure, exchange{mysqlproto.PluginNative, []string{switchTo(mysqlproto.PluginSHA256, other+"\x00"), ok}, []string{native, "secret\x00"}, "", true}},
		{"switch to sha256, the server's key is asked for", fetch, exchange{mysqlproto.PluginNative, []string{switchTo(mysqlproto.PluginSHA256, other+"\x00"), "\x01key"}, []string{native, "\x01"}, "not in PEM", false}},
		{"switch to sha256, empty password", noPassword, exchange{mysqlproto.PluginNative, []string{switchTo(mysqlproto.PluginSHA256, other+"\x00"), ok}, []string{"", "\x00"}, "", true}},
		{"switch to an unknown method", plain, exchange{mysqlproto.PluginNative, []string{switchTo("dialog", "")}, []string{native}, "refused", false}},
		{"switch twice", plain, exchange{mysqlproto.PluginNative, append(slices.Repeat(again, 2), ok), append([]string{native}, slices.Repeat(answer, 2)...), "", true}},
		{"switch all the time", plain, exchange{mysqlproto.PluginNative, slices.Repeat(again, 17), append([]string{native}, slices.Repeat(answer, 16)...), "more than 16 times", false}},
		{"switch with a short scramble", plain, exchange{mysqlproto.PluginNative, []string{switchTo(mysqlproto.PluginNative, "abc")}, []string{native}, "3 bytes", false}},
		{"switch to the method before 4.1", plain, exchange{mysqlproto.PluginNative, []string{"\xfe"}, []string{native}, "mysql_old_password", false}},
		{"second factor", plain, exchange{mysqlproto.PluginNative, []string{"\x02webauthn\x00"}, []string{native}, "second factor", false}},
		{"error", plain, exchange{mysqlproto.PluginNative, []string{"\xff\x15\x04#28000Access denied"}, []string{native}, "ERROR 1045 (28000): Access denied", false}},
		{"data out of turn", plain, exchange{mysqlproto.PluginNative, []string{"\x01\x04"}, []string{native}, "no use", false}},
		{"empty packet", plain, exchange{mysqlproto.PluginNative, []string{""}, []string{native}, "empty", false}},
		{"parsec with a bad salt", plain, exchange{mysqlproto.PluginNative, []string{switchTo(mysqlproto.PluginParsec, strings.Repeat("x", 32)), "Qx"}, []string{native, ""}, "salt", false}},
		{"parsec with too many rounds", plain, exchange{mysqlproto.PluginNative, []string{switchTo(mysqlproto.PluginParsec, strings.Repeat("x", 32)), "P\x14" + strings.Repeat("s", 18)}, []string{native, ""}, "rounds", false}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			play(t, tt.config, tt.exchange)
		})
	}
}

// TestPasswordIsEncryptedForTheServer plays the server's side of RSA with keys of its own.
func TestPasswordIsEncryptedForTheServer(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	decrypt := func(b []byte) string {
		t.Helper()
		plain, err := rsa.DecryptOAEP(sha1.New(), nil, key, b, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range plain {
			plain[i] ^= testScramble[i%len(testScramble)]
		}
		return string(plain)
	}
	password := "a password that is longer than the scramble"
	for _, known := range []bool{false, true} {
		config := mysqlproto.AuthConfig{Password: password, Allow: everyMethod, FetchPublicKey: true, Random: rand.Reader}
		if known {
			if config.PublicKey, err = mysqlproto.ParsePublicKey(public); err != nil {
				t.Fatal(err)
			}
		}
		a := mysqlproto.NewAuth(config)
		if _, _, err := a.Begin(mysqlproto.PluginCachingSHA2, []byte(testScramble)); err != nil {
			t.Fatal(err)
		}
		out, answer, _, err := a.Step(nil, []byte("\x01\x04"))
		if err != nil || !answer {
			t.Fatal(answer, err)
		}
		if !known {
			if string(out) != "\x02" {
				t.Fatalf("asks for the key with %q", out)
			}
			if out, answer, _, err = a.Step(nil, append([]byte{1}, public...)); err != nil || !answer {
				t.Fatal(answer, err)
			}
		}
		if got := decrypt(out); got != password+"\x00" {
			t.Errorf("the server decrypts %q", got)
		}
	}
}

func TestPublicKeysThatAreRefused(t *testing.T) {
	t.Parallel()
	edwards, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(edwards)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"no PEM": []byte("x"), "no key": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}), "too long": bytes.Repeat([]byte("x"), 20<<10),
		"not RSA": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
	} {
		if _, err := mysqlproto.ParsePublicKey(bad); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestParsec plays MariaDB's side as its documentation has it: the signature is checked with the key that the server would have stored.
func TestParsec(t *testing.T) {
	t.Parallel()
	scramble, salt := bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte{9}, 18)
	a := mysqlproto.NewAuth(mysqlproto.AuthConfig{Password: "pwd", Allow: mysqlproto.MethodParsec, Random: rand.Reader})
	if plugin, response, err := a.Begin(mysqlproto.PluginNative, []byte(testScramble)); plugin != mysqlproto.PluginParsec || response != nil || err != nil {
		t.Fatal(plugin, response, err)
	}
	out, answer, _, err := a.Step(nil, (&mysqlproto.AuthSwitch{Plugin: mysqlproto.PluginParsec, Data: scramble}).AppendTo(nil))
	if len(out) != 0 || !answer || err != nil {
		t.Fatalf("asks for the salt with %q, %v, %v", out, answer, err)
	}
	out, answer, _, err = a.Step(nil, append([]byte("P\x01"), salt...))
	if len(out) != 96 || !answer || err != nil {
		t.Fatalf("answers %d bytes, %v, %v", len(out), answer, err)
	}
	seed, err := pbkdf2.Key(sha512.New, "pwd", salt, 2048, 32)
	if err != nil {
		t.Fatal(err)
	}
	public, ok := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	if !ok || !ed25519.Verify(public, append(scramble, out[:32]...), out[32:]) {
		t.Error("the signature is false")
	}
	if _, _, _, err := a.Step(nil, append([]byte("P\x01"), salt...)); err == nil {
		t.Error("a second salt is taken")
	}
}

func TestCleartextPasswordHasNoZeroByte(t *testing.T) {
	t.Parallel()
	a := mysqlproto.NewAuth(mysqlproto.AuthConfig{Password: "a\x00b", Allow: everyMethod, Secure: true})
	if _, _, _, err := a.Step(nil, []byte("\xfemysql_clear_password\x00")); !errors.Is(err, mysqlproto.ErrMethodRefused) {
		t.Errorf("%v", err)
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	if got := mysqlproto.MethodsDefault.String(); got != "mysql_native_password,caching_sha2_password,sha256_password,client_ed25519,parsec" {
		t.Error(got)
	}
	if mysqlproto.MethodOf("dialog") != 0 || mysqlproto.MethodOf("parsec") != mysqlproto.MethodParsec {
		t.Error("MethodOf is wrong")
	}
}
