package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
)

// Names of the configurations by which the API server knows the webhooks.
const (
	InjectorConfiguration  = "dragoman-injector"  // a MutatingWebhookConfiguration
	ValidatorConfiguration = "dragoman-validator" // a ValidatingWebhookConfiguration
)

// hooks keep what the API server is to trust of the webhooks as it should be. They
// are as they are applied but for that, which nobody else can know.
type hooks struct {
	// Read-only after construction.
	clients *Clients
	logger  *slog.Logger
	rouse   func()

	mu    sync.Mutex // guards below
	known map[string][][]byte
}

func newHooks(clients *Clients, logger *slog.Logger, rouse func()) *hooks {
	return &hooks{clients: clients, logger: logger, rouse: rouse, known: map[string][][]byte{}}
}

// follow watches both configurations until ctx is done.
func (h *hooks) follow(ctx context.Context) {
	registration := h.clients.Typed.AdmissionregistrationV1()
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() {
		state := newHealth("MutatingWebhookConfiguration "+InjectorConfiguration, h.logger)
		f := newFeed(state, &admissionv1.MutatingWebhookConfiguration{}, func(in *admissionv1.MutatingWebhookConfiguration) [][]byte {
			bundles := make([][]byte, len(in.Webhooks))
			for i := range in.Webhooks {
				bundles[i] = in.Webhooks[i].ClientConfig.CABundle
			}
			return bundles
		}, h.note)
		f.run(ctx, follow(registration.MutatingWebhookConfigurations(), state, named(InjectorConfiguration)))
	})
	running.Go(func() {
		state := newHealth("ValidatingWebhookConfiguration "+ValidatorConfiguration, h.logger)
		f := newFeed(state, &admissionv1.ValidatingWebhookConfiguration{}, func(in *admissionv1.ValidatingWebhookConfiguration) [][]byte {
			bundles := make([][]byte, len(in.Webhooks))
			for i := range in.Webhooks {
				bundles[i] = in.Webhooks[i].ClientConfig.CABundle
			}
			return bundles
		}, h.note)
		f.run(ctx, follow(registration.ValidatingWebhookConfigurations(), state, named(ValidatorConfiguration)))
	})
}

func named(name string) func(*metav1.ListOptions) {
	return func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
	}
}

// note keeps what a configuration trusts, webhook by webhook.
func (h *hooks) note(k inventory.Key, bundles [][]byte, _ time.Time) {
	h.mu.Lock()
	if bundles == nil {
		delete(h.known, k.Name)
	} else {
		h.known[k.Name] = bundles
	}
	h.mu.Unlock()
	h.rouse()
}

// publish has the API server trust a bundle, and reports whether it does.
func (h *hooks) publish(ctx context.Context, bundle []byte) bool {
	h.mu.Lock()
	known := maps.Clone(h.known)
	h.mu.Unlock()
	done := true
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if err := h.patch(ctx, name, known[name], bundle); err != nil && ctx.Err() == nil {
			done = false
			h.logger.Warn("the API server cannot be told what to trust of a webhook", "configuration", name, "error", err)
		}
	}
	return done
}

func (h *hooks) patch(ctx context.Context, name string, has [][]byte, bundle []byte) error {
	type operation struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value []byte `json:"value"`
	}
	var operations []operation
	for i := range has {
		if !bytes.Equal(has[i], bundle) {
			operations = append(operations, operation{"add", "/webhooks/" + strconv.Itoa(i) + "/clientConfig/caBundle", bundle})
		}
	}
	if len(operations) == 0 {
		return nil
	}
	data, err := json.Marshal(operations)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	registration, options := h.clients.Typed.AdmissionregistrationV1(), metav1.PatchOptions{FieldManager: fieldManager}
	if name == InjectorConfiguration {
		_, err = registration.MutatingWebhookConfigurations().Patch(ctx, name, types.JSONPatchType, data, options)
	} else {
		_, err = registration.ValidatingWebhookConfigurations().Patch(ctx, name, types.JSONPatchType, data, options)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}
