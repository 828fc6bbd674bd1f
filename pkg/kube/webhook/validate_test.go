package webhook_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	"sigs.k8s.io/yaml"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/kube/webhook"
)

const (
	validObject = `
apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: cache, namespace: shop}
spec:
  protocol: redis
  listen: {port: 6380}
  environments: {dev: {address: "127.0.0.1:6379"}}
`
	ending = `metadata: {name: cache, namespace: shop, deletionTimestamp: "2026-01-01T00:00:00Z", finalizers: [foregroundDeletion]}`
)

// TestValidate: what is stored already, and was found wrong only then, is not held up by
// that: finalizers can be taken off at its end. Each case is what is stored, "" for nothing, and
// what is to be.
func TestValidate(t *testing.T) {
	t.Parallel()
	wrong := strings.Replace(validObject, "protocol: redis", "protocol: rdis", 1)
	tests := []struct {
		name, from, to string
		allowed, warns bool
	}{
		{"made", "", validObject, true, false},
		{"made wrong", "", wrong, false, false},
		{"becomes wrong", validObject, wrong, false, false},
		{"is mended", wrong, validObject, true, false},
		{"ends", strings.Replace(wrong, "metadata: {name: cache, namespace: shop}", ending, 1), wrong, true, true},
		{"is labelled", wrong, strings.Replace(wrong, "namespace: shop}", "namespace: shop, labels: {a: b}}", 1), true, true},
		{"is wrong otherwise", wrong, strings.Replace(wrong, "6380", "6381", 1), false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := ask(t, tt.from, tt.to)
			if got.Allowed != tt.allowed || (len(got.Warnings) > 0) != tt.warns {
				t.Errorf("allowed: %t, %v, warnings: %q", got.Allowed, got.Result, got.Warnings)
			}
			if strings.Contains(strings.Join(got.Warnings, ""), "\n") {
				t.Errorf("a warning is a line: %q", got.Warnings)
			}
		})
	}
}

// ask is what the API server is told of a change.
func ask(t *testing.T, from, to string) *admissionv1.AdmissionResponse {
	t.Helper()
	raw := func(document string) json.RawMessage {
		data, err := yaml.YAMLToJSON([]byte(document))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	request := map[string]any{"uid": "u", "operation": "CREATE", "object": raw(to)}
	if from != "" {
		request["operation"], request["oldObject"] = "UPDATE", raw(from)
	}
	data, err := json.Marshal(map[string]any{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})
	if err != nil {
		t.Fatal(err)
	}
	h := webhook.NewHandler(&webhook.Injector{}, &webhook.Validator{Store: inventory.NewStore()}, slog.New(slog.DiscardHandler))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, webhook.ValidatePath, strings.NewReader(string(data))))
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(w.Body.Bytes(), &review); err != nil || review.Response == nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return review.Response
}
