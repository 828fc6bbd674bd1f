package transcode_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dragoman-mesh/dragoman/pkg/transform/pbjson"
	"github.com/dragoman-mesh/dragoman/pkg/transform/transcode"
)

// messaging is the API of the examples in google/api/http.proto.
const messaging = `
name: "messaging.proto" syntax: "proto3" package: "example.v1" dependency: "google/api/annotations.proto"
message_type {
  name: "GetMessageRequest"
  field { name: "name" number: 4 type: TYPE_STRING label: LABEL_OPTIONAL json_name: "name" }
  field { name: "message_id" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL json_name: "messageId" }
  field { name: "revision" number: 2 type: TYPE_INT64 label: LABEL_OPTIONAL json_name: "revision" }
  field { name: "sub" number: 3 type: TYPE_MESSAGE type_name: ".example.v1.GetMessageRequest.SubMessage" label: LABEL_OPTIONAL json_name: "sub" }
  field { name: "user_id" number: 5 type: TYPE_STRING label: LABEL_OPTIONAL json_name: "userId" }
  field { name: "param" number: 6 type: TYPE_STRING label: LABEL_REPEATED json_name: "param" }
  field { name: "subs" number: 7 type: TYPE_MESSAGE type_name: ".example.v1.GetMessageRequest.SubMessage" label: LABEL_REPEATED json_name: "subs" }
  nested_type { name: "SubMessage" field { name: "subfield" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL json_name: "subfield" } }
}
message_type {
  name: "Message"
  field { name: "message_id" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL json_name: "messageId" }
  field { name: "text" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL json_name: "text" }
}
message_type {
  name: "UpdateMessageRequest"
  field { name: "message_id" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL json_name: "messageId" }
  field { name: "message" number: 2 type: TYPE_MESSAGE type_name: ".example.v1.Message" label: LABEL_OPTIONAL json_name: "message" }
}
service {
  name: "Messaging"
  method { name: "GetMessage" input_type: ".example.v1.GetMessageRequest" output_type: ".example.v1.Message" }
  method { name: "UpdateMessage" input_type: ".example.v1.UpdateMessageRequest" output_type: ".example.v1.Message" }
  method { name: "ReplaceMessage" input_type: ".example.v1.Message" output_type: ".example.v1.Message" }
}`

func get(path string, more ...*annotations.HttpRule) *annotations.HttpRule {
	return &annotations.HttpRule{Pattern: &annotations.HttpRule_Get{Get: path}, AdditionalBindings: more}
}

func patch(path, body string) *annotations.HttpRule {
	return &annotations.HttpRule{Pattern: &annotations.HttpRule_Patch{Patch: path}, Body: body}
}

// compile makes the API with one annotation.
func compile(t testing.TB, method string, rule *annotations.HttpRule) (*transcode.API, error) {
	t.Helper()
	f := &descriptorpb.FileDescriptorProto{}
	if err := prototext.Unmarshal([]byte(messaging), f); err != nil {
		t.Fatal(err)
	}
	for _, m := range f.GetService()[0].GetMethod() {
		if m.GetName() == method {
			m.Options = &descriptorpb.MethodOptions{}
			proto.SetExtension(m.Options, annotations.E_Http, rule)
		}
	}
	set, err := proto.Marshal(&descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{f}})
	if err != nil {
		t.Fatal(err)
	}
	files, err := transcode.Load(set)
	if err != nil {
		t.Fatal(err)
	}
	return transcode.Compile(files, transcode.Options{Services: []string{"example.v1.Messaging"}})
}

// message gives the JSON of the message that a request becomes.
func message(api *transcode.API, request, body string) (string, error) {
	method, target, _ := strings.Cut(request, " ")
	path, query, _ := strings.Cut(target, "?")
	call, ok := api.Match(method, path)
	if !ok {
		return "", errors.New("no rule")
	}
	o := &transcode.RequestOptions{}
	if err := call.Head(query, o); err != nil {
		return "", err
	}
	if len(call.Unknown) > 0 {
		return "", errors.New("unknown parameters")
	}
	wire := call.Bare(nil)
	if call.HasBody() {
		var err error
		if wire, err = call.JSON(nil, []byte(body), o); err != nil {
			return "", err
		}
	}
	out, err := call.Method.Input.AppendJSON(nil, wire, pbjson.WriteOptions{ProtoNames: true})
	return string(out), err
}

// TestExamples has the examples of google/api/http.proto, and its rules.
func TestExamples(t *testing.T) {
	t.Parallel()
	const both = "GetMessage"
	for _, test := range []struct {
		method        string
		rule          *annotations.HttpRule
		request, body string
		want          string // "": refused
	}{
		{both, get("/v1/{name=messages/*}"), "GET /v1/messages/123456", "", `{"name":"messages/123456"}`},
		{both, get("/v1/messages/{message_id}"), "GET /v1/messages/123456?revision=2&sub.subfield=foo", "", `{"message_id":"123456","revision":"2","sub":{"subfield":"foo"}}`},
		{both, get("/v1/messages/{message_id}"), "GET /v1/messages/1?param=A&param=B", "", `{"message_id":"1","param":["A","B"]}`},
		{both, get("/v1/messages/{message_id}/{sub.subfield}"), "GET /v1/messages/1/foo?user_id=me", "", `{"message_id":"1","sub":{"subfield":"foo"},"user_id":"me"}`},
		{"UpdateMessage", patch("/v1/messages/{message_id}", "message"), "PATCH /v1/messages/123456", `{ "text": "Hi!" }`, `{"message_id":"123456","message":{"text":"Hi!"}}`},
		{"ReplaceMessage", patch("/v1/messages/{message_id}", "*"), "PATCH /v1/messages/123456", `{ "text": "Hi!" }`, `{"message_id":"123456","text":"Hi!"}`},
		{both, get("/v1/messages/{message_id}", get("/v1/users/{user_id}/messages/{message_id}")), "GET /v1/messages/123456", "", `{"message_id":"123456"}`},
		{both, get("/v1/messages/{message_id}", get("/v1/users/{user_id}/messages/{message_id}")), "GET /v1/users/me/messages/123456", "", `{"message_id":"123456","user_id":"me"}`},
		// Rule 1: what path and body do not name comes from the query; what they name does not.
		{both, get("/v1/messages/{message_id}"), "GET /v1/messages/1?message_id=2", "", ""},
		{"UpdateMessage", patch("/v1/messages/{message_id}", "message"), "PATCH /v1/messages/1?message.text=x", `{}`, ""},
		// Fields of the query are primitive, lists of them, or messages of them.
		{both, get("/v1/messages/{message_id}"), "GET /v1/messages/1?sub=x", "", ""},
		{both, get("/v1/messages/{message_id}"), "GET /v1/messages/1?subs.subfield=x", "", ""},
		// One segment loses all escapes, several keep %2F.
		{both, get("/v1/{message_id}"), "GET /v1/a%2Fb%20c", "", `{"message_id":"a/b c"}`},
		{both, get("/v1/{name=**}"), "GET /v1/a%2Fb/%C3%A9%3F", "", `{"name":"a%2Fb/é%3F"}`},
		// ** matches none, too; a verb ends the path.
		{both, get("/v1/m/{name=**}:read"), "GET /v1/m:read", "", `{}`},
		{both, &annotations.HttpRule{Pattern: &annotations.HttpRule_Custom{Custom: &annotations.CustomHttpPattern{Kind: "HEAD", Path: "/v1/{message_id}"}}}, "HEAD /v1/5", "", `{"message_id":"5"}`},
		{both, &annotations.HttpRule{Pattern: &annotations.HttpRule_Custom{Custom: &annotations.CustomHttpPattern{Kind: "*", Path: "/v1/{message_id}"}}}, "REPORT /v1/5", "", `{"message_id":"5"}`},
	} {
		api, err := compile(t, test.method, test.rule)
		if err != nil {
			t.Errorf("%s: %v", test.request, err)
			continue
		}
		got, err := message(api, test.request, test.body)
		if got != test.want || (err != nil) != (test.want == "") {
			t.Errorf("%s %s: %s, %v, want %s", test.request, test.body, got, err, test.want)
		}
	}
}

// TestRefusedRules has rules that http.proto does not allow.
func TestRefusedRules(t *testing.T) {
	t.Parallel()
	for want, rule := range map[string]*annotations.HttpRule{
		`the variable "param" is a list`:                              get("/v1/{param}"),
		`the variable "sub" is a message, not a value`:                get("/v1/{sub}"),
		`the variable "subs.subfield" goes through "subs"`:            get("/v1/{subs.subfield}"),
		`the variable "none" is not a field`:                          get("/v1/{none}"),
		`the variable "name.x" goes on after "name"`:                  get("/v1/{name.x}"),
		`body "none" is not a field`:                                  patch("/v1", "none"),
		`response_body "none" is not a field of example.v1.Message`:   {Pattern: &annotations.HttpRule_Get{Get: "/v1"}, ResponseBody: "none"},
		`additional_bindings has additional_bindings of its own`:      get("/v1", get("/v2", get("/v3"))),
		`** is not its last segment`:                                  get("/v1/{name=**}/x"),
		`a variable is inside another`:                                get("/v1/{name={user_id}}"),
		`GET /v1/{user_id=*} matches what another does, /v1/{name=*}`: get("/v1/{name}", get("/v1/{user_id}")),
	} {
		_, err := compile(t, "GetMessage", rule)
		bad, ok := errors.AsType[*transcode.RuleError](err)
		if !ok || bad.Method != "example.v1.Messaging.GetMessage" || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// FuzzRequest asserts that a request which is made of a message gives the same
// message back.
func FuzzRequest(f *testing.F) {
	api, err := compile(f, "GetMessage", get("/v1/{name=messages/*}", get("/v1/users/{user_id}")))
	if err != nil {
		f.Fatal(err)
	}
	f.Add("messages/1", "u", "p&=+%", "s/..", int64(5))
	f.Fuzz(func(t *testing.T, name, user, param, sub string, revision int64) {
		m := api.Method("/example.v1.Messaging/GetMessage")
		text := func(field, value string) []byte {
			b, err := m.Input.Field(field).AppendText(nil, value, pbjson.ReadOptions{})
			if err != nil {
				return nil
			}
			return b
		}
		wire := append(text("name", name), text("user_id", user)...)
		wire = append(append(wire, text("param", param)...), text("param", sub)...)
		wire = append(wire, text("revision", strconv.FormatInt(revision, 10))...)
		request, err := m.Request(wire, pbjson.WriteOptions{})
		if err != nil {
			return
		}
		want, err := m.Input.AppendJSON(nil, wire, pbjson.WriteOptions{ProtoNames: true})
		if err != nil {
			t.Fatal(err)
		}
		got, err := message(api, request.Method+" "+request.Path+"?"+request.Query, string(request.Body))
		if err != nil || got != string(want) {
			t.Fatalf("%+v: %s, %v, want %s", request, got, err, want)
		}
	})
}
