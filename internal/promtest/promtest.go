// Package promtest runs a real Prometheus for tests.
package promtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// Server is a Prometheus.
type Server struct{ address string }

// Start starts one with a configuration file, and doesn't wait for it. It runs until
// the test ends.
func Start(tb testing.TB, config string) *Server {
	tb.Helper()
	dir := tb.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		tb.Fatal(err)
	}
	s := &Server{address: fmt.Sprintf("127.0.0.1:%d", redistest.Port(tb))}
	redistest.Run(tb, "prometheus", "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+s.address)
	return s
}

// Sample is one of an instant vector.
type Sample struct {
	Metric map[string]string
	Value  float64
}

// Query answers an expression that is an instant vector. The error is also that
// it does not answer yet.
func (s *Server) Query(expression string) ([]Sample, error) {
	var answer struct {
		Error string
		Data  struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := s.get("/api/v1/query?query="+url.QueryEscape(expression), &answer); err != nil {
		return nil, err
	}
	if answer.Error != "" {
		return nil, fmt.Errorf("%s: %s", expression, answer.Error)
	}
	out := make([]Sample, 0, len(answer.Data.Result))
	for _, r := range answer.Data.Result {
		text, _ := r.Value[1].(string)
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, err
		}
		out = append(out, Sample{Metric: r.Metric, Value: v})
	}
	return out, nil
}

// Target is something that is scraped.
type Target struct {
	Labels    map[string]string
	ScrapeURL string
	Health    string
	LastError string
}

// Targets are those that relabelling has left.
func (s *Server) Targets() ([]Target, error) {
	var answer struct {
		Data struct{ ActiveTargets []Target }
	}
	err := s.get("/api/v1/targets?state=active", &answer)
	return answer.Data.ActiveTargets, err
}

func (s *Server) get(path string, into any) error {
	res, err := http.Get("http://" + s.address + path)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return json.NewDecoder(res.Body).Decode(into)
}
