package jolokia_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/internal/goldentest"
	"github.com/dragoman-mesh/dragoman/internal/tooltest"
	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/jolokia"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func beans() []resource.JolokiaBean {
	return []resource.JolokiaBean{
		{MBean: "Catalina:type=ThreadPool,name=*", Attributes: []string{"currentThreadsBusy", "maxThreads", "running", "name"}, Type: dto.MetricType_GAUGE, Help: "Tomcat's threads."},
		{MBean: "shop:type=Orders", Name: "orders", Type: dto.MetricType_GAUGE, Labels: map[string]string{"team": "shop"}},
	}
}

// TestAnswers reads the bodies in testdata, of agents as of 1.7 and 2.0.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"jolokia-1.7", "jolokia-2.0", "recorded-1.7.1", "recorded-1.7.1-no-beans"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			page, err := os.ReadFile("testdata/" + name + ".json")
			if err != nil {
				t.Fatal(err)
			}
			p, err := jolokia.NewParser(true, beans())
			if err != nil {
				t.Fatal(err)
			}
			families, err := p.Parse(string(page), 0)
			got := tooltest.Text(t, families)
			if err != nil {
				got += "! " + err.Error() + "\n"
			}
			goldentest.Compare(t, "testdata/"+name+".txt", got)
		})
	}
}

// TestOneRequestForAll: what is asked for is one POST with a bulk, as Jolokia's
// protocol has it, with the credentials of the document.
func TestOneRequestForAll(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("testdata/jolokia-1.7.json")
	if err != nil {
		t.Fatal(err)
	}
	type request struct {
		Type, MBean string
		Attribute   []string
	}
	asked := make(chan []request, 1)
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var bulk []request
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &bulk)
		}
		if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			http.Error(w, "not a bulk request", http.StatusBadRequest)
			return
		}
		asked <- bulk
		_, _ = w.Write(page) // the test sees what is missing
	}))
	t.Cleanup(agent.Close)
	s, err := jolokia.New(&resource.JolokiaSource{
		MetricsFetch: resource.MetricsFetch{URI: agent.URL + "/jolokia", Timeout: time.Minute}, Beans: beans(),
	}, metrics.Env{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	families, err := s.Gather(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if text := tooltest.Text(t, families); !strings.Contains(text, "jvm_gc_collection_seconds_sum{gc=\"G1 Young Generation\"} 1.25\n") {
		t.Errorf("no time of collections in %s", text)
	}
	bulk := <-asked
	if got := bulk[1]; got.Type != "read" || got.MBean != "java.lang:type=MemoryPool,name=*" || len(got.Attribute) != 2 {
		t.Errorf("the second request is %+v", got)
	}
	if got := bulk[len(bulk)-1]; got.MBean != "shop:type=Orders" || got.Attribute != nil {
		t.Errorf("the last request is %+v", got)
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	p, err := jolokia.NewParser(true, nil)
	if err != nil {
		t.Fatal(err)
	}
	for page, want := range map[string]string{
		"":    "not JSON",
		"[]":  "did not answer the 9 requests",
		"7":   "did not answer the 9 requests",
		"[1]": "did not answer the 9 requests",
		`{"error_type":"java.lang.SecurityException","error":"No access allowed","status":403}`: "cannot read the bulk request: status 403 No access allowed",
		"[1,2,3,4,5,6,7,8,9]":                                  "cannot read java.lang:type=Memory: status 0",
		`[{"status":200,"value":1},2,3,4,5,6,7,8,9]`:           "the value is no object",
		`[2,{"status":200,"value":{"x":{}}},3,4,5,6,7,8,9]`:    "the agent found what is no bean",
		`[2,{"status":200,"value":{"a:b=c":1}},3,4,5,6,7,8,9]`: "the agent found what is no bean",
	} {
		if _, err := p.Parse(page, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", page, err, want)
		}
	}
}

func TestNamesThatAreNone(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "a", "a:", "a:b", "a:=b", `a:b="c`, `a:b="c"d`, `a:b="c\`, "a:b=c,,"} {
		if _, err := jolokia.NewParser(false, []resource.JolokiaBean{{MBean: name}}); err == nil {
			t.Errorf("%q is taken", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"jolokia-1.7", "jolokia-2.0", "recorded-1.7.1", "recorded-1.7.1-no-beans"} {
		page, err := os.ReadFile("testdata/" + name + ".json")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(page), "a:type=b,name=*")
	}
	f.Fuzz(func(t *testing.T, page, mbean string) {
		list := beans()
		list[0].MBean = mbean
		p, err := jolokia.NewParser(true, list)
		if err != nil {
			return
		}
		families, _ := p.Parse(page, 100) // an error says what is missing
		tooltest.Text(t, families)
	})
}
