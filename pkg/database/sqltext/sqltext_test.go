package sqltext

import "testing"

func TestEndOfString(t *testing.T) {
	t.Parallel()
	tests := []struct {
		sql         string // after the opening quote
		quote       byte
		backslashes bool
		want        string // what is left
	}{
		{"a' b", '\'', false, " b"},
		{"a'' b' c", '\'', false, " c"},
		{`a\' b' c`, '\'', false, " b' c"},
		{`a\' b' c`, '\'', true, " c"},
		{`a' b" c`, '"', true, " c"},
		{"cut", '\'', false, ""},
		{`cut\`, '\'', true, ""},
	}
	for _, tt := range tests {
		if got := tt.sql[EndOfString([]byte(tt.sql), 0, tt.quote, tt.backslashes):]; got != tt.want {
			t.Errorf("%q: %q is left, want %q", tt.sql, got, tt.want)
		}
	}
}

func TestEndsOfOthers(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"1.5e3 x": " x", "0x1F+1": "+1", "12": "", "": ""} {
		if got := text[EndOfNumber([]byte(text), 0):]; got != want {
			t.Errorf("number %q: %q is left, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{"a */ b": " b", "a": "", "*/": ""} {
		if got := text[After([]byte(text), 0, "*/"):]; got != want {
			t.Errorf("comment %q: %q is left, want %q", text, got, want)
		}
	}
}
