package grpcjson

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// statusClientClosed is nginx' status of a request whose client has gone, which
// google.rpc.Code takes for CANCELLED.
const statusClientClosed = 499

// httpStatus is that of a code, as google/rpc/code.proto says it.
func httpStatus(c codes.Code) int {
	switch c {
	case codes.OK:
		return http.StatusOK
	case codes.Canceled:
		return statusClientClosed
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange:
		return http.StatusBadRequest
	case codes.DeadlineExceeded:
		return http.StatusGatewayTimeout
	case codes.NotFound:
		return http.StatusNotFound
	case codes.AlreadyExists, codes.Aborted:
		return http.StatusConflict
	case codes.PermissionDenied:
		return http.StatusForbidden
	case codes.ResourceExhausted:
		return http.StatusTooManyRequests
	case codes.Unimplemented:
		return http.StatusNotImplemented
	case codes.Unavailable:
		return http.StatusServiceUnavailable
	case codes.Unauthenticated:
		return http.StatusUnauthorized
	default:
		return http.StatusInternalServerError
	}
}

// grpcCode is what a status of an app without gRPC means.
func grpcCode(status int) codes.Code {
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusUnsupportedMediaType:
		return codes.InvalidArgument
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusForbidden:
		return codes.PermissionDenied
	case http.StatusNotFound, http.StatusGone:
		return codes.NotFound
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return codes.Unimplemented
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return codes.DeadlineExceeded
	case http.StatusConflict:
		return codes.Aborted
	case http.StatusPreconditionFailed, http.StatusPreconditionRequired:
		return codes.FailedPrecondition
	case http.StatusRequestedRangeNotSatisfiable:
		return codes.OutOfRange
	case http.StatusRequestEntityTooLarge, http.StatusTooManyRequests:
		return codes.ResourceExhausted
	case statusClientClosed:
		return codes.Canceled
	case http.StatusInternalServerError:
		return codes.Internal
	case http.StatusBadGateway, http.StatusServiceUnavailable:
		return codes.Unavailable
	default:
		return codes.Unknown
	}
}

// outcome is how a call ended.
type outcome struct {
	code    codes.Code
	message string
	details []byte // a google.rpc.Status on the wire; nil: there is none
}

// readStatus takes a call's outcome from headers or trailers; false: it is not
// there.
func readStatus(get func(name string) string) (outcome, bool) {
	text := get("Grpc-Status")
	if text == "" {
		return outcome{}, false
	}
	n, err := strconv.ParseUint(text, 10, 8)
	if err != nil {
		return outcome{code: codes.Unknown, message: "the server's grpc-status is no number"}, true
	}
	o := outcome{code: codes.Code(n), message: decodeMessage(get("Grpc-Message"))}
	if packed := get("Grpc-Status-Details-Bin"); packed != "" && o.code != codes.OK {
		o.details = decodeBinary(packed)
	}
	return o, true
}

// decodeBinary decodes a header whose name ends in -bin; nil: it is wrong.
func decodeBinary(s string) []byte {
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil {
		return nil
	}
	return b
}

// wire is the google.rpc.Status of an outcome.
func (o *outcome) wire() []byte {
	var s spb.Status
	if o.details != nil && proto.Unmarshal(o.details, &s) == nil && codes.Code(s.GetCode()) == o.code {
		return o.details
	}
	b, _ := proto.Marshal(&spb.Status{Code: int32(o.code), Message: strings.ToValidUTF8(o.message, "\uFFFD")})
	return b
}

// decodeMessage undoes the percent-encoding of grpc-message. What is wrong stays
// as it is.
func decodeMessage(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(v))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// maxMessage bounds what of an app's answer becomes a grpc-message, in bytes.
const maxMessage = 2 << 10

// encodeMessage percent-encodes a grpc-message.
func encodeMessage(s string) string {
	if len(s) > maxMessage {
		s = s[:maxMessage]
		for len(s) > 0 && !utf8.ValidString(s[max(0, len(s)-utf8.UTFMax):]) {
			s = s[:len(s)-1]
			if len(s) <= maxMessage-utf8.UTFMax {
				break
			}
		}
	}
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}
