package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Paths of the two webhooks.
const (
	InjectPath   = "/inject"
	ValidatePath = "/validate"
)

// maxReview bounds a question, in bytes: the API server stores no object above
// 3 MiB, and an update has the old one beside the new.
const maxReview = 8 << 20

// Handler answers both webhooks. It is a [prometheus.Collector].
type Handler struct {
	// Read-only after construction.
	injector  *Injector
	validator *Validator
	log       *slog.Logger
	mux       *http.ServeMux
	requests  *prometheus.CounterVec
	took      *prometheus.HistogramVec
}

// NewHandler returns the handler of the webhooks' port.
func NewHandler(i *Injector, v *Validator, log *slog.Logger) *Handler {
	h := &Handler{
		injector: i, validator: v, log: log, mux: http.NewServeMux(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dragoman_webhook_requests_total", Help: "Questions of the API server, by webhook and what became of them.",
		}, []string{"webhook", "result"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "dragoman_webhook_duration_seconds", Help: "Time to answer a question of the API server.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 8),
		}, []string{"webhook"}),
	}
	h.mux.HandleFunc("POST "+InjectPath, h.serve("inject", h.inject))
	h.mux.HandleFunc("POST "+ValidatePath, h.serve("validate", h.validate))
	return h
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// Describe implements prometheus.Collector.
func (h *Handler) Describe(ch chan<- *prometheus.Desc) {
	h.requests.Describe(ch)
	h.took.Describe(ch)
}

// Collect implements prometheus.Collector.
func (h *Handler) Collect(ch chan<- prometheus.Metric) {
	h.requests.Collect(ch)
	h.took.Collect(ch)
}

// Results of a question, as the metric has them.
const (
	resultUnchanged = "unchanged"
	resultChanged   = "changed"
	resultRefused   = "refused"
	resultInvalid   = "invalid_request"
)

// answer is what becomes of an object.
type answer struct {
	result   string
	patch    []byte
	warnings []string
	err      error // refuses it
}

var errNoReview = errors.New("want an AdmissionReview of admission.k8s.io/v1 with a request")

func (h *Handler) serve(name string, decide func(*admissionv1.AdmissionRequest) answer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		defer func() { h.took.WithLabelValues(name).Observe(time.Since(began).Seconds()) }()
		review, err := readReview(w, r)
		if err != nil {
			h.requests.WithLabelValues(name, resultInvalid).Inc()
			h.log.Warn("webhook: a question that is none", "webhook", name, "remote", r.RemoteAddr, "error", err)
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		a := decide(review.Request)
		h.requests.WithLabelValues(name, a.result).Inc()
		review.Response = a.response(review.Request)
		review.Request = nil
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(review); err != nil {
			h.log.Warn("webhook: the API server does not take the answer", "webhook", name, "error", err)
		}
	}
}

func readReview(w http.ResponseWriter, r *http.Request) (*admissionv1.AdmissionReview, error) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReview))
	if err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	review := &admissionv1.AdmissionReview{}
	if err := json.Unmarshal(data, review); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoReview, err)
	}
	if review.Request == nil || review.APIVersion != admissionv1.SchemeGroupVersion.String() || review.Kind != "AdmissionReview" {
		return nil, errNoReview
	}
	return review, nil
}

// response is an answer in the API server's form.
func (a *answer) response(request *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	out := &admissionv1.AdmissionResponse{UID: request.UID, Allowed: a.err == nil, Warnings: a.warnings}
	if a.err != nil {
		out.Result = &metav1.Status{
			Status: metav1.StatusFailure, Message: a.err.Error(),
			Reason: metav1.StatusReasonInvalid, Code: http.StatusUnprocessableEntity,
		}
	}
	if a.patch != nil {
		kind := admissionv1.PatchTypeJSONPatch
		out.Patch, out.PatchType = a.patch, &kind
	}
	return out
}

func (h *Handler) inject(r *admissionv1.AdmissionRequest) answer {
	if r.Operation != admissionv1.Create || r.Kind.Kind != "Pod" {
		return answer{result: resultUnchanged}
	}
	patch, warnings, err := h.injector.Inject(r.Object.Raw, r.Namespace)
	switch {
	case err != nil:
		h.log.Warn("a pod is refused", "namespace", r.Namespace, "pod", podName(r), "error", err)
		return answer{result: resultRefused, err: err}
	case patch == nil:
		return answer{result: resultUnchanged, warnings: warnings}
	}
	h.log.Debug("a pod gets its proxy", "namespace", r.Namespace, "pod", podName(r))
	return answer{result: resultChanged, patch: patch, warnings: warnings}
}

// podName is the name of a pod, or what its name will begin with.
func podName(r *admissionv1.AdmissionRequest) string {
	if r.Name != "" {
		return r.Name
	}
	var o metav1.PartialObjectMetadata
	if err := json.Unmarshal(r.Object.Raw, &o); err != nil {
		return ""
	}
	return o.GenerateName + "*"
}

func (h *Handler) validate(r *admissionv1.AdmissionRequest) answer {
	if r.Operation != admissionv1.Create && r.Operation != admissionv1.Update || r.SubResource != "" {
		return answer{result: resultUnchanged}
	}
	warnings, err := h.validator.Validate(r.Object.Raw)
	switch {
	case err != nil && r.Operation == admissionv1.Update && h.validator.wrongBefore(r.Object.Raw, r.OldObject.Raw):
		return answer{result: resultUnchanged, warnings: []string{"dragoman: it stays wrong: " + strings.ReplaceAll(err.Error(), "\n", "; ")}}
	case err != nil:
		return answer{result: resultRefused, err: err}
	}
	return answer{result: resultUnchanged, warnings: warnings}
}
