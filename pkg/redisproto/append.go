package redisproto

import "strconv"

// AppendError appends an error; msg begins with its code, as in "ERR no such
// key". CR and LF in msg become spaces.
func AppendError(dst []byte, msg string) []byte { return appendText(append(dst, '-'), msg) }

func appendText(dst []byte, s string) []byte {
	start := len(dst)
	dst = append(dst, s...)
	for i, c := range dst[start:] {
		if c == '\r' || c == '\n' {
			dst[start+i] = ' '
		}
	}
	return append(dst, '\r', '\n')
}

// AppendInt appends an integer.
func AppendInt(dst []byte, v int64) []byte { return appendHeader(dst, ':', v) }

// AppendBulk appends a bulk string.
func AppendBulk(dst, s []byte) []byte {
	dst = appendHeader(dst, '$', int64(len(s)))
	dst = append(dst, s...)
	return append(dst, '\r', '\n')
}

// AppendBulkString appends a bulk string.
func AppendBulkString(dst []byte, s string) []byte {
	dst = appendHeader(dst, '$', int64(len(s)))
	dst = append(dst, s...)
	return append(dst, '\r', '\n')
}

// AppendArray appends the header of an array of n elements.
func AppendArray(dst []byte, n int) []byte { return appendHeader(dst, '*', int64(n)) }

// AppendMap appends the header of a map of n pairs; before RESP3 that is an
// array of 2n elements.
func AppendMap(dst []byte, n, resp int) []byte {
	if resp < 3 {
		return AppendArray(dst, 2*n)
	}
	return appendHeader(dst, '%', int64(n))
}

// AppendPush appends the header of an out-of-band message of n elements;
// before RESP3 an array.
func AppendPush(dst []byte, n, resp int) []byte {
	if resp < 3 {
		return AppendArray(dst, n)
	}
	return appendHeader(dst, '>', int64(n))
}

// AppendNull appends null; before RESP3 the null bulk string.
func AppendNull(dst []byte, resp int) []byte {
	if resp < 3 {
		return append(dst, "$-1\r\n"...)
	}
	return append(dst, "_\r\n"...)
}

// AppendNullArray appends null; before RESP3 the null array.
func AppendNullArray(dst []byte, resp int) []byte {
	if resp < 3 {
		return append(dst, "*-1\r\n"...)
	}
	return append(dst, "_\r\n"...)
}

// AppendVerbatim appends text with its format of three characters, such as
// "txt" or "mkd"; before RESP3 a bulk string without the format.
func AppendVerbatim(dst []byte, format, s string, resp int) []byte {
	if resp < 3 {
		return AppendBulkString(dst, s)
	}
	dst = appendHeader(dst, '=', int64(len(format)+1+len(s)))
	dst = append(append(append(dst, format...), ':'), s...)
	return append(dst, '\r', '\n')
}

// AppendCommand appends a request.
func AppendCommand(dst []byte, args ...string) []byte {
	dst = AppendArray(dst, len(args))
	for _, a := range args {
		dst = AppendBulkString(dst, a)
	}
	return dst
}

func appendHeader(dst []byte, kind byte, v int64) []byte {
	if v >= 0 && v <= 9 {
		return append(dst, kind, '0'+byte(v), '\r', '\n')
	}
	dst = strconv.AppendInt(append(dst, kind), v, 10)
	return append(dst, '\r', '\n')
}
