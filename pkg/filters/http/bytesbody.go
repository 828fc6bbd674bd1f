package http

import (
	"bytes"
	"io"
)

func newBytesBody(b []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(b)) }
