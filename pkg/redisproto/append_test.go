package redisproto

import (
	"math"
	"testing"
)

func TestAppend(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		got  []byte
		want string
	}{
		{"error", AppendError(nil, "ERR a\nb"), "-ERR a b\r\n"},
		{"error behind others", AppendError([]byte("\r\n"), "ERR a\r\nb"), "\r\n-ERR a  b\r\n"},
		{"int", AppendInt(nil, -12), ":-12\r\n"},
		{"digit", AppendInt(nil, 9), ":9\r\n"},
		{"min", AppendInt(nil, math.MinInt64), ":-9223372036854775808\r\n"},
		{"bulk", AppendBulk(nil, []byte("a\r\nb")), "$4\r\na\r\nb\r\n"},
		{"bulk string", AppendBulkString(nil, "twelve bytes"), "$12\r\ntwelve bytes\r\n"},
		{"array", AppendArray(nil, 10), "*10\r\n"},
		{"map 2", AppendMap(nil, 3, 2), "*6\r\n"},
		{"map 3", AppendMap(nil, 3, 3), "%3\r\n"},
		{"push 2", AppendPush(nil, 3, 2), "*3\r\n"},
		{"push 3", AppendPush(nil, 3, 3), ">3\r\n"},
		{"null 2", AppendNull(nil, 2), "$-1\r\n"},
		{"null 3", AppendNull(nil, 3), "_\r\n"},
		{"null array 2", AppendNullArray(nil, 2), "*-1\r\n"},
		{"null array 3", AppendNullArray(nil, 3), "_\r\n"},
		{"verbatim 2", AppendVerbatim(nil, "txt", "hi", 2), "$2\r\nhi\r\n"},
		{"verbatim 3", AppendVerbatim(nil, "txt", "hi", 3), "=6\r\ntxt:hi\r\n"},
		{"command", AppendCommand(nil, "GET", "k"), "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := string(tt.got); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestHashTag(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ key, want string }{
		{"user", "user"},
		{"{user}:1", "user"},
		{"a{b}c{d}", "b"},
		{"{}a{b}", "{}a{b}"},
		{"a{b", "a{b"},
		{"a}b{c}", "c"},
		{"{{b}}", "{b"},
		{"", ""},
	} {
		if got := string(HashTag([]byte(tt.key), '{', '}')); got != tt.want {
			t.Errorf("HashTag(%q) = %q, want %q", tt.key, got, tt.want)
		}
	}
	if got := string(HashTag([]byte("a$b$c"), '$', '$')); got != "b" {
		t.Errorf("HashTag with one character = %q, want b", got)
	}
}
