package e2e

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// startExample runs the proxy with a file of examples/ before an app.
func startExample(t *testing.T, file string, app http.Handler) (*Proxy, string) {
	t.Helper()
	data, err := os.ReadFile("../../examples/" + file)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(app)
	t.Cleanup(s.Close)
	port := strconv.Itoa(redistest.Port(t))
	doc := strings.Replace(string(data), "port: 8081", "port: "+port, 1)
	return startProxy(t, strings.Replace(doc, "127.0.0.1:8080", s.Listener.Addr().String(), 1)), "http://127.0.0.1:" + port
}

// wsdl is what the SOAP service says of itself.
const wsdl = `<?xml version="1.0" encoding="UTF-8"?>
<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/" xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:o="urn:example:orders" targetNamespace="urn:example:orders">
  <types><xsd:schema targetNamespace="urn:example:orders" elementFormDefault="qualified">
    <xsd:element name="PlaceOrder"><xsd:complexType><xsd:all>
      <xsd:element name="OrderId" type="xsd:string"/><xsd:element name="Article" type="xsd:string"/><xsd:element name="Quantity" type="xsd:positiveInteger"/>
    </xsd:all></xsd:complexType></xsd:element>
    <xsd:element name="GetOrder"><xsd:complexType><xsd:all><xsd:element name="OrderId" type="xsd:string"/></xsd:all></xsd:complexType></xsd:element>
  </xsd:schema></types>
  <binding name="b" type="o:Orders"><soap:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>
    <operation name="PlaceOrder"><soap:operation soapAction="urn:example:orders#PlaceOrder"/></operation>
    <operation name="GetOrder"><soap:operation soapAction="urn:example:orders#GetOrder"/></operation>
  </binding>
</definitions>`

// orderService is a SOAP service that is strict about what it is sent: the
// envelope, the namespace of each element, the action, and no element more or less.
type orderService struct{ t *testing.T }

type soapField struct {
	XMLName xml.Name
	Text    string `xml:",chardata"`
}

type soapRequest struct {
	XMLName xml.Name
	Body    struct {
		Operation struct {
			XMLName xml.Name
			Fields  []soapField `xml:",any"`
		} `xml:",any"`
	} `xml:"http://schemas.xmlsoap.org/soap/envelope/ Body"`
}

func (s orderService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, ok := r.URL.Query()["wsdl"]; ok && r.Method == http.MethodGet {
		w.Header().Set("Content-Type", "text/xml; charset=utf-8")
		_, _ = io.WriteString(w, wsdl)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Error(err)
	}
	fields, operation, wrong := s.read(r, body)
	if wrong != "" {
		s.fault(w, "Client", wrong)
		return
	}
	id := fields["OrderId"]
	switch {
	case operation == "PlaceOrder" && fields["Article"] == "z-9":
		s.fault(w, "Client.UnknownArticle", "there is no article z-9")
		return
	case operation == "GetOrder" && id == "404":
		s.fault(w, "Client.UnknownOrder", "there is no order 404")
		return
	}
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	fmt.Fprintf(w, `<S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Body><n:%sResponse xmlns:n="urn:example:orders"><n:OrderId>%s</n:OrderId>`+
		`<n:Total>12345678901234567890.50</n:Total><n:Line><n:Article>%s</n:Article></n:Line></n:%sResponse></S:Body></S:Envelope>`, operation, id, fields["Article"], operation)
}

// read gives the fields of an operation, or what is wrong with the request.
func (s orderService) read(r *http.Request, body []byte) (fields map[string]string, operation, wrong string) {
	var m soapRequest
	if err := xml.Unmarshal(body, &m); err != nil {
		return nil, "", "no XML: " + err.Error()
	}
	const ns = "urn:example:orders"
	op := m.Body.Operation
	want := map[string][]string{"PlaceOrder": {"OrderId", "Article", "Quantity"}, "GetOrder": {"OrderId"}}[op.XMLName.Local]
	switch {
	case r.Method != http.MethodPost || r.URL.Path != "/soap/orders":
		return nil, "", "POST /soap/orders is meant"
	case r.Header.Get("Content-Type") != "text/xml; charset=utf-8":
		return nil, "", "the content type is " + r.Header.Get("Content-Type")
	case m.XMLName != xml.Name{Space: "http://schemas.xmlsoap.org/soap/envelope/", Local: "Envelope"}:
		return nil, "", "no envelope of SOAP 1.1"
	case op.XMLName.Space != ns || want == nil:
		return nil, "", fmt.Sprintf("no operation: %v", op.XMLName)
	case r.Header.Get("SOAPAction") != `"`+ns+"#"+op.XMLName.Local+`"`:
		return nil, "", "the action is " + r.Header.Get("SOAPAction")
	case len(op.Fields) != len(want):
		return nil, "", fmt.Sprintf("%d fields", len(op.Fields))
	}
	fields = map[string]string{}
	for _, f := range op.Fields {
		if f.XMLName.Space != ns {
			return nil, "", fmt.Sprintf("the namespace of %v", f.XMLName)
		}
		fields[f.XMLName.Local] = f.Text
	}
	for _, name := range want {
		if fields[name] == "" {
			return nil, "", name + " is missing"
		}
	}
	return fields, op.XMLName.Local, ""
}

func (orderService) fault(w http.ResponseWriter, code, text string) {
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	w.WriteHeader(http.StatusInternalServerError)
	fmt.Fprintf(w, `<S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Body><S:Fault><faultcode>S:%s</faultcode><faultstring>%s</faultstring></S:Fault></S:Body></S:Envelope>`, code, text)
}

// TestAPIExampleSOAP: JSON in front of a SOAP service that takes no other envelope
// than that of its WSDL.
func TestAPIExampleSOAP(t *testing.T) {
	t.Parallel()
	_, url := startExample(t, "api-soap.yaml", orderService{t})
	tests := []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"an order", "POST", "/orders/7", `{"sku":"a-1","count":2}`, 201, `{"id":"7","total":12345678901234567890.50,"lines":[{"Article":"a-1"}]}`},
		{"a question", "GET", "/orders/8", ``, 200, `{"id":"8","total":12345678901234567890.50,"lines":[{"Article":""}]}`},
		{"a fault", "POST", "/orders/7", `{"sku":"z-9","count":2}`, 404, `{"fault":{"code":"Sender","subcode":"UnknownArticle","reason":"there is no article z-9"}}`},
		{"another fault", "GET", "/orders/404", ``, 404, `{"fault":{"code":"Sender","subcode":"UnknownOrder","reason":"there is no order 404"}}`},
		{
			"what does not fit", "POST", "/orders/7", `{"sku":"a-1","count":0}`, 422,
			`{"title":"Unprocessable Entity","status":422,"detail":"the body does not fit the schema","errors":[{"pointer":"/count","detail":"is less than it may be"}]}`,
		},
		{"another method", "DELETE", "/orders/7", ``, 405, `{"title":"Method Not Allowed","status":405,"detail":"this path has other methods"}`},
	}
	for _, tt := range tests {
		header := []string{"Content-Type", "application/json"}
		if tt.method == "GET" {
			header = nil
		}
		if status, text, _ := ask(t, tt.method, url+tt.path, tt.body, header...); status != tt.status || text != tt.want {
			t.Errorf("%s: got %d %s\nwant %d %s", tt.name, status, text, tt.status, tt.want)
		}
	}
}

// TestAPIExampleWebhook: a form as JSON.
func TestAPIExampleWebhook(t *testing.T) {
	t.Parallel()
	_, url := startExample(t, "api-webhook.yaml", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var v any
		if err := json.NewDecoder(r.Body).Decode(&v); err != nil || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%v, %s", err, r.Header.Get("Content-Type"))
		}
		fmt.Fprintf(w, "%s %s %v", r.URL, r.Header.Get("X-Source"), v)
	}))
	status, text, _ := ask(t, "POST", url+"/hooks/shop", "event=paid&order[id]=7&order[total]=1.50", "Content-Type", "application/x-www-form-urlencoded")
	if want := "/events shop map[order:map[id:7 total:1.5] type:paid version:1]"; status != 200 || text != want {
		t.Errorf("got %d %s, want %s", status, text, want)
	}
}

// TestAPIExampleCSV: a file that is longer than any limit, there and back.
func TestAPIExampleCSV(t *testing.T) {
	t.Parallel()
	_, url := startExample(t, "api-csv.yaml", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			n, sum := 0, 0
			for dec := json.NewDecoder(r.Body); ; n++ {
				var v struct {
					SKU   string `json:"sku"`
					Count int    `json:"count"`
				}
				if dec.Decode(&v) != nil {
					break
				}
				sum += v.Count
			}
			fmt.Fprintf(w, "%d records, %d", n, sum)
			return
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		_, _ = io.WriteString(w, `{"sku":"a;1","count":2}`+"\n"+`{"sku":"b","count":3}`+"\n")
	}))
	const rows = 200_000
	file := "Article;Count\n" + strings.Repeat("an article;3\n", rows)
	status, text, _ := ask(t, "POST", url+"/stock", file, "Content-Type", "text/csv")
	if want := fmt.Sprintf("%d records, %d", rows, 3*rows); status != 200 || text != want {
		t.Errorf("got %d %s, want %s", status, text, want)
	}
	status, text, _ = ask(t, "GET", url+"/stock", "")
	if diff := cmp.Diff("200 Article;Count\r\n\"a;1\";2\r\nb;3\r\n", fmt.Sprint(status, " ", text)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestAPIExampleVersions: a client of v1 does not notice that the app is v2's.
func TestAPIExampleVersions(t *testing.T) {
	t.Parallel()
	_, url := startExample(t, "api-versions.yaml", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.Method + " " + r.URL.Path {
		case "POST /v2/customers":
			w.WriteHeader(http.StatusCreated)
			_, _ = io.Copy(w, r.Body)
		case "GET /v2/customers/7":
			_, _ = io.WriteString(w, `{"fullName":"Ann","address":{"street":"A 1","city":"B","country":"C"}}`)
		default:
			fmt.Fprintf(w, `%q`, r.Method+" "+r.URL.String())
		}
	}))
	tests := []struct{ method, path, body, want string }{
		{"POST", "/v1/customer", `{"name":"Ann","street":"A 1","city":"B"}`, `201 {"city":"B","name":"Ann","street":"A 1"}`},
		{"GET", "/v1/customer/7", ``, `200 {"city":"B","name":"Ann","street":"A 1"}`},
		{"GET", "/v1/other?a=b", ``, `200 "GET /v2/other?a=b"`},
		{"GET", "/v2/customers/7", ``, `200 {"fullName":"Ann","address":{"street":"A 1","city":"B","country":"C"}}`},
	}
	for _, tt := range tests {
		status, text, head := ask(t, tt.method, url+tt.path, tt.body)
		if got := fmt.Sprint(status, " ", text); got != tt.want {
			t.Errorf("%s %s: got %s, want %s", tt.method, tt.path, got, tt.want)
		}
		if old := strings.HasPrefix(tt.path, "/v1"); (head.Get("Deprecation") == "@1769817600") != old || (head.Get("Sunset") == "Sun, 31 Jan 2027 00:00:00 GMT") != old {
			t.Errorf("%s: %v", tt.path, head)
		}
	}
}
