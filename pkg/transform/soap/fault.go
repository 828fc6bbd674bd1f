package soap

import (
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/transform/json"
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// Fault is a message that says that something went wrong. Decode returns it as
// its error.
type Fault struct {
	Version Version
	// Code is the local name of the code, in the words of SOAP 1.2: Sender, Receiver,
	// MustUnderstand, VersionMismatch, DataEncodingUnknown; or one of a server's own.
	Code string
	// Subcode of 1.2, or what follows the first dot of a code of 1.1.
	Subcode string
	Reason  string
	// Actor is who found the fault: faultactor of 1.1, Node or else Role of 1.2.
	Actor string
	// Detail is what the fault's detail says, as JSON; empty if there is none.
	Detail string
}

// Error implements error.
func (f *Fault) Error() string { return "soap: a fault: " + f.Code }

// Status is the HTTP status that says the same: what the sender did wrong is
// 400, the rest 500. SOAP's own binding of 1.1 has 500 for all.
func (f *Fault) Status() int {
	switch f.Code {
	case "Sender", "MustUnderstand", "VersionMismatch", "DataEncodingUnknown":
		return 400
	}
	return 500
}

// BindingStatus is the HTTP status that a fault is sent with, by SOAP's binding:
// 500, but for what the sender did wrong in 1.2, 400.
func (f *Fault) BindingStatus() int {
	if f.Version == V12 && f.Code == "Sender" {
		return 400
	}
	return 500
}

// FaultOf is the fault that says what an HTTP status does. detail is JSON, or
// empty.
func FaultOf(version Version, status int, reason, detail string) *Fault {
	f := &Fault{Version: version, Code: "Receiver", Reason: reason, Detail: detail}
	if status >= 400 && status < 500 {
		f.Code = "Sender"
	}
	return f
}

// code11 is a code in the words of SOAP 1.1.
func code11(code string) string {
	switch code {
	case "Sender":
		return "Client"
	case "Receiver":
		return "Server"
	}
	return code
}

// code12 is a code of SOAP 1.1 in the words of 1.2, and what follows its first
// dot.
func code12(code string) (name, sub string) {
	name, sub, _ = strings.Cut(code, ".")
	switch name {
	case "Client":
		name = "Sender"
	case "Server":
		name = "Receiver"
	}
	return name, sub
}

// ContentType of messages. action is the URI of the operation, or empty; SOAP 1.1
// has it in the header SOAPAction instead.
func ContentType(version Version, action string) string {
	if version != V12 {
		return "text/xml; charset=utf-8"
	}
	if action == "" {
		return "application/soap+xml; charset=utf-8"
	}
	return `application/soap+xml; charset=utf-8; action="` + action + `"`
}

// fault reads one.
func (m *message) fault(id value.ID) error {
	f := &Fault{Version: m.version}
	var detail value.ID
	if m.version == V11 {
		f.Code, f.Subcode = code12(m.local(m.child(id, "faultcode")))
		f.Reason = m.textOf(m.child(id, "faultstring"))
		f.Actor = m.textOf(m.child(id, "faultactor"))
		detail = m.child(id, "detail")
	} else {
		code := m.child(id, "Code")
		f.Code = m.local(m.child(code, "Value"))
		f.Subcode = m.local(m.child(m.child(code, "Subcode"), "Value"))
		f.Reason = m.textOf(m.child(m.child(id, "Reason"), "Text"))
		if f.Actor = m.textOf(m.child(id, "Node")); f.Actor == "" {
			f.Actor = m.textOf(m.child(id, "Role"))
		}
		detail = m.child(id, "Detail")
	}
	if detail != value.None {
		f.Detail = string(json.Append(nil, m.doc, detail))
	}
	return f
}

// child finds an element by its local name, within the first of several.
func (m *message) child(id value.ID, local string) value.ID {
	if id == value.None {
		return value.None
	}
	for at := range m.elements(id) {
		if name := m.doc.At(at).Name; name == local || name == m.prefix+":"+local {
			if n := m.doc.At(at); n.Kind == value.List {
				return n.First
			}
			return at
		}
	}
	return value.None
}

// textOf is the text of an element.
func (m *message) textOf(id value.ID) string {
	if id == value.None {
		return ""
	}
	if m.doc.At(id).Kind == value.Object {
		if id = m.doc.Get(id, m.text()); id == value.None {
			return ""
		}
	}
	return strings.TrimSpace(m.doc.At(id).Text)
}

// local is the text of an element without a prefix.
func (m *message) local(id value.ID) string {
	text := m.textOf(id)
	return text[strings.LastIndexByte(text, ':')+1:]
}
