package transform

import (
	"slices"
	"strings"
)

// contentTypes of the formats: what is written first, then what is read, too.
func contentTypes(f Format) []string {
	switch f {
	case JSON:
		return []string{"application/json", "text/json"}
	case XML:
		return []string{"application/xml", "text/xml"}
	case SOAP:
		return []string{"text/xml", "application/soap+xml"}
	case Form:
		return []string{"application/x-www-form-urlencoded"}
	case Multipart:
		return []string{"multipart/form-data"}
	case CSV:
		return []string{"text/csv", "application/csv"}
	case NDJSON:
		return []string{"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"}
	case MsgPack:
		return []string{"application/msgpack", "application/x-msgpack", "application/vnd.msgpack"}
	}
	return nil
}

// ContentTypes are the media types of a format, without parameters: that which
// is written first.
func ContentTypes(f Format) []string { return contentTypes(f) }

// ContentType is the header of bodies in a format. SOAP's depends on its version
// and multipart's on the body: see Program.ContentType.
func ContentType(f Format) string {
	switch f {
	case XML, CSV:
		return contentTypes(f)[0] + "; charset=utf-8"
	case SOAP:
		return "text/xml; charset=utf-8"
	case JSON, Form, Multipart, NDJSON, MsgPack:
		return contentTypes(f)[0]
	}
	return ""
}

// Accepts tells whether a body with a Content-Type is one of a format; an empty
// one, or application/octet-stream, may be any. Types with the suffix of a
// format, as in application/problem+json, are of it.
func Accepts(f Format, contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	if media == "" || media == "application/octet-stream" || slices.Contains(contentTypes(f), media) {
		return true
	}
	switch f {
	case JSON:
		return strings.HasSuffix(media, "+json")
	case XML:
		return strings.HasSuffix(media, "+xml") && media != "application/soap+xml"
	case MsgPack:
		return strings.HasSuffix(media, "+msgpack")
	}
	return false
}
