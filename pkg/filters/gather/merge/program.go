package merge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/itchyny/gojq"
)

// maxOutput bounds what a program makes of the answers.
const maxOutput = 64 << 20

// run gives the first output of the program for all answers.
func (m *merger) run(ctx context.Context) ([]byte, error) {
	input := make([]any, len(m.parts))
	for i, p := range m.parts {
		d := json.NewDecoder(bytes.NewReader(p.Body))
		d.UseNumber() // keeps the digits
		var body any
		if err := d.Decode(&body); err != nil {
			return nil, fmt.Errorf("the answer of %s: %w", p.Leaf, err)
		}
		input[i] = map[string]any{"leaf": p.Leaf, "status": p.Status, "body": body}
	}
	var out any
	found := false
	err := m.how.Program.Run(ctx, input, func(v any) bool {
		out, found = v, true
		return false
	})
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, ErrEmpty
	}
	text, err := gojq.Marshal(out)
	switch {
	case err != nil:
		return nil, fmt.Errorf("what the program gives: %w", err)
	case len(text) > maxOutput:
		return nil, errors.New("the program gives too much")
	}
	return text, nil
}
