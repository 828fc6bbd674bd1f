package xml_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/internal/tooltest"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/xml"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func parse(t *testing.T, page string, extract ...resource.Extraction) (text string, err error) {
	t.Helper()
	for i := range extract {
		if extract[i].Type == dto.MetricType_COUNTER && extract[i].Name == "" {
			extract[i].Name, extract[i].Type = "x", dto.MetricType_GAUGE
		}
	}
	p, err := xml.NewParser(extract)
	if err != nil {
		t.Fatal(err)
	}
	families, err := p.Parse(page, 0)
	var out strings.Builder
	for line := range strings.Lines(tooltest.Text(t, families)) {
		if !strings.HasPrefix(line, "#") {
			out.WriteString(line)
		}
	}
	return out.String(), err
}

// TestBIND reads the statistics of a real name server.
func TestBIND(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("testdata/bind-9.18.xml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := parse(t, string(page),
		resource.Extraction{Name: "bind_incoming_queries_total", Path: "/statistics/server/counters[@type='opcode']/counter[@name='QUERY']", Type: dto.MetricType_COUNTER},
		resource.Extraction{
			Name: "bind_responses_total", Path: "//server/counters[@type='rcode']/counter", Type: dto.MetricType_COUNTER,
			Labels: map[string]string{"result": "@name", "kind": "../@type", "version": "/statistics/server/version", "site": `"north"`},
		})
	if err != nil {
		t.Error(err)
	}
	for _, want := range []string{
		"bind_incoming_queries_total 2\n",
		`bind_responses_total{kind="rcode",result="NOERROR",site="north",version="9.18.49-1~deb12u3-Debian"} 1` + "\n",
		`bind_responses_total{kind="rcode",result="NXDOMAIN",site="north",version="9.18.49-1~deb12u3-Debian"} 1` + "\n",
		`bind_responses_total{kind="rcode",result="SERVFAIL",site="north",version="9.18.49-1~deb12u3-Debian"} 0` + "\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is missing in\n%s", want, got)
		}
	}
}

const page = `<?xml version="1.0" encoding="ISO-8859-1"?>
<s:status xmlns:s="urn:x" uptime="12.50"><!-- a comment -->
  <pool name="a" state="up"><size> 3 </size><node id="1">10</node><node id="2">20</node></pool>
  <pool name="b &amp; &#228;" state="down"><size>4</size><node id="3">30</node><spare/></pool>
  <note>text</note><![CDATA[ 5 ]]>
</s:status>`

func TestPaths(t *testing.T) {
	t.Parallel()
	tests := []struct {
		path, value string
		labels      map[string]string
		want        string
	}{
		{path: "/status/@uptime", want: "x 12.5\n"},
		{path: "/s:status/pool/size", want: "x 3\nx 4\n"},
		{path: "/status/pool/size/text()", want: "x 3\nx 4\n"},
		{path: "//node", labels: map[string]string{"id": "@id", "pool": "../@name"}, want: "x{id=\"1\",pool=\"a\"} 10\nx{id=\"2\",pool=\"a\"} 20\nx{id=\"3\",pool=\"b & ä\"} 30\n"},
		{path: "/status/pool", value: "size", labels: map[string]string{"n": "@name"}, want: "x{n=\"a\"} 3\nx{n=\"b & ä\"} 4\n"},
		{path: "/status/pool[1]/node[2]", want: "x 20\n"},
		{path: "/status/pool[@state='down']/size", want: "x 4\n"},
		{path: `/status/pool[@state!="down"]/size`, want: "x 3\n"},
		{path: "/status/pool[spare]/size", want: "x 4\n"},
		{path: "/status/pool[size='3'][@name]/node[@id='2']", want: "x 20\n"},
		{path: "/status/*/size", want: "x 3\nx 4\n"},
		{path: "//pool//@id", want: "x 1\nx 2\nx 3\n"},
		{path: "/status/pool[1]/./node[1]/../size", want: "x 3\n"},
		{path: "/status", want: "x 5\n"},
	}
	for _, tt := range tests {
		got, err := parse(t, page, resource.Extraction{Path: tt.path, Value: tt.value, Labels: tt.labels})
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", tt.path, err, diff)
		}
	}
}

// TestEncodings reads bytes as the document says.
func TestEncodings(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ bytes, want string }{
		"utf-8":        {"\u20ac\u00e4", "\u20ac\u00e4"},
		"ISO-8859-1":   {"\xe4", "\u00e4"},
		"windows-1252": {"\x80\xe4", "\u20ac\u00e4"},
		"Windows-1252": {"\x93a\x94", "\u201ca\u201d"},
	} {
		got, err := parse(t, `<?xml version="1.0" encoding="`+name+`"?><a n="`+tt.bytes+`">1</a>`, resource.Extraction{Path: "/a", Labels: map[string]string{"n": "@n"}})
		if want := `x{n="` + tt.want + "\"} 1\n"; got != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
	}
}

func TestWhatIsNotFoundIsTold(t *testing.T) {
	t.Parallel()
	got, err := parse(t, page, resource.Extraction{Name: "a", Path: "/status/missing"}, resource.Extraction{Name: "b", Path: "/status/note"},
		resource.Extraction{Name: "c", Path: "/status/pool[2]/size", Labels: map[string]string{"l": "@missing"}})
	if want := "c{l=\"\"} 4\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	const want = "metric a: the element missing is not found\nmetric b: \"text\" is not a number"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestBadPathsAreRefused(t *testing.T) {
	t.Parallel()
	for _, path := range []string{
		"/", "a//", "a/", "/a/@b/c", "a[", "a[0]", "a[b=c]", "a[b=']", "@", "a b", "text()/a", "a[@]", "..[1]", strings.Repeat("a/", 40) + "a", strings.Repeat("a", 2000), "count(a)",
	} {
		if _, err := xml.NewParser([]resource.Extraction{{Name: "x", Path: path}}); err == nil {
			t.Errorf("%.40s is taken", path)
		}
	}
}

// TestDocumentsAreBounded: nothing outside of a document is ever looked at, and
// nothing in it costs more than it is long.
func TestDocumentsAreBounded(t *testing.T) {
	t.Parallel()
	p, err := xml.NewParser([]resource.Extraction{{Name: "x", Path: "/a"}})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		page string
		want error
	}{
		"a document type":    {`<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>`, xml.ErrDoctype},
		"a billion laughs":   {`<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;">]><a>&c;</a>`, xml.ErrDoctype},
		"an unknown entity":  {`<a>&b;</a>`, nil},
		"deep nesting":       {strings.Repeat("<a>", 100_000), xml.ErrTooDeep},
		"many elements":      {"<a>" + strings.Repeat("<b/>", 300_000) + "</a>", xml.ErrTooMany},
		"no end":             {"<a>", nil},
		"two roots":          {"<a/><a/>", nil},
		"no XML":             {"hello", nil},
		"nothing":            {"", nil},
		"an unknown charset": {`<?xml version="1.0" encoding="EBCDIC"?><a>1</a>`, nil},
		"not UTF-8":          {"<a>\xff</a>", nil},
	}
	for name, tt := range tests {
		got, err := p.Parse(tt.page, 0)
		if err == nil || got != nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(page, "//node[@id='1']")
	f.Add("<a><a>1</a></a>", "..//a[a]/../*/@b")
	f.Fuzz(func(t *testing.T, page, path string) {
		p, err := xml.NewParser([]resource.Extraction{{Name: "x", Path: path, Labels: map[string]string{"l": "@name"}}})
		if err != nil {
			return
		}
		families, _ := p.Parse(page, 100) // an error says what is missing
		tooltest.Text(t, families)
	})
}
