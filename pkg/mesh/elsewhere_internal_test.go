package mesh

import (
	"slices"
	"testing"
)

// TestWordsOfOthersAreOurs: each of those names leads to a value that there is, and is written as it is looked for.
func TestWordsOfOthersAreOurs(t *testing.T) {
	t.Parallel()
	for _, of := range []traveller{
		TLSMode(""), Protocol(""), TargetSessionAttrs(""), ReadPolicy(""), Access(""), ChangeMode(""),
		PostgresAuthMethod(""), PostgresLoginMethod(""), TCPLoadBalancing(""), HTTPVersion(""),
	} {
		for word, value := range of.elsewhere() {
			if !slices.Contains(of.Values(), value) || ourWord(of, word) != value {
				t.Errorf("%T: %s does not lead to %s", of, word, value)
			}
		}
	}
}
