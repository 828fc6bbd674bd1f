package pgproto

import (
	"testing"
)

// TestSCRAMClientVector is the example of RFC 7677, section 3. It names the user, which PostgreSQL's clients do not.
func TestSCRAMClientVector(t *testing.T) {
	t.Parallel()
	c := scramClient{user: "user", password: "pencil", nonce: "rOprNGfwEbeRWgbNEkqO", gs2: "n,,", maxIterations: 4096, derive: DeriveSCRAM}
	first, err := c.first()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(first), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"; got != want {
		t.Errorf("first message\n got %s\nwant %s", got, want)
	}
	final, err := c.final([]byte("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(final), "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="; got != want {
		t.Errorf("final message\n got %s\nwant %s", got, want)
	}
	if err := c.verify([]byte("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")); err != nil {
		t.Errorf("the server's signature: %v", err)
	}
}

// TestSASLPrep has the examples of RFC 4013, section 3, and what PostgreSQL does where the profile refuses (saslprep.c).
func TestSASLPrep(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{"soft hyphen is mapped to nothing", "I\u00adX", "IX"},
		{"no change", "user", "user"},
		{"case is kept", "USER", "USER"},
		{"NFKC", "\u00aa", "a"},
		{"NFKC of a Roman numeral", "\u2168", "IX"},
		{"prohibited control character is ASCII: as it is", "\u0007", "\u0007"},
		{"bidirectional check fails: as it is", "\u0627\u0031", "\u0627\u0031"},
		{"space that is not ASCII", "a\u00a0b", "a b"},
		{"not UTF-8: as it is", "\xff\u2168", "\xff\u2168"},
		{"nothing would be left: as it is", "\u00ad", "\u00ad"},
		{"unassigned in Unicode 3.2: as it is", "\u0221\u2168", "\u0221\u2168"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := saslPrep(tt.in); got != tt.want {
				t.Errorf("saslPrep(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}
