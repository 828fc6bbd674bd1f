package grpcjson

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/dragoman-mesh/dragoman/pkg/bodies"
)

// BudgetBytes is how much of all messages together may be in memory, in one process:
// the largest that there may be, and what becomes of it.
const BudgetBytes = 512 << 20

// keptBuffer is how large a buffer may be that is kept for the next message of a
// stream, in bytes.
const keptBuffer = 64 << 10

var (
	errBudget = errors.New("too many large messages at once")
	errGone   = errors.New("the client has gone")
)

// readAll reads up to limit bytes, of which share is told.
func readAll(r io.Reader, limit int, share *bodies.Share) ([]byte, error) {
	body := make([]byte, 0, bytes.MinRead)
	for {
		if len(body) == cap(body) {
			body = append(body, 0)[:len(body)]
		}
		n, err := r.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case len(body) > limit:
			return nil, fmt.Errorf("%w: more than %d bytes", errTooLarge, limit)
		case !share.Set(len(body)):
			return nil, errBudget
		case err == io.EOF:
			return body, nil
		case err != nil:
			return nil, err
		}
	}
}

// emptied is a buffer for what comes next.
func emptied(b []byte) []byte {
	if cap(b) > keptBuffer {
		return nil
	}
	return b[:0]
}

// inTurn converts a message of n bytes when it is its turn.
func inTurn(ctx context.Context, budget *bodies.Budget, n int, convert func() error) error {
	end, ok := budget.Turn(ctx, n)
	if !ok {
		return errGone
	}
	defer end()
	return convert()
}
