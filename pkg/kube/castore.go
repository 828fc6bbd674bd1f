package kube

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
)

// Where the authority is kept and published.
const (
	CASecret    = "dragoman-ca" // in the control plane's namespace, with the private key
	CAConfigMap = "dragoman-ca" // in every namespace with objects or pods with a proxy
	CAKey       = "ca.crt"      // of that ConfigMap: what is to be trusted, PEM
)

// Times of publishing.
const (
	publishHold  = 200 * time.Millisecond // gathers what changes together
	publishRetry = 10 * time.Second
)

// CAStore keeps the keys of an authority in a Secret, and publishes its
// certificates as a ConfigMap of each namespace that has objects or pods with a
// proxy, and to the API server for the webhooks. Load, Save and
// Publish belong to every replica, Lead is a task of the leader.
type CAStore struct {
	// Read-only after construction.
	clients *Clients
	board   *board
	replica Replica
	logger  *slog.Logger
	wake    chan struct{} // has room for one
	hooks   *hooks

	mu        sync.Mutex // guards below
	bundle    []byte
	published map[string][]byte // by namespace, as the API server has it
}

// NewCAStore returns a store that publishes where a source finds objects.
func NewCAStore(clients *Clients, source *Source, replica Replica, logger *slog.Logger) *CAStore {
	s := &CAStore{
		clients: clients, board: source.board, replica: replica,
		logger:    cmp.Or(logger, slog.Default()),
		wake:      make(chan struct{}, 1),
		published: make(map[string][]byte),
	}
	s.hooks = newHooks(clients, s.logger, s.rouse)
	s.board.listen(func(ref inventory.Ref) {
		s.mu.Lock()
		_, known := s.published[ref.Namespace]
		s.mu.Unlock()
		if !known {
			s.rouse()
		}
	})
	return s
}

func (s *CAStore) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Load gives what is kept, and its version; fs.ErrNotExist if nothing is.
func (s *CAStore) Load(ctx context.Context) (data map[string][]byte, version string, err error) {
	secret, err := s.clients.Typed.CoreV1().Secrets(s.replica.Namespace).Get(ctx, CASecret, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, "", fmt.Errorf("the Secret %s/%s: %w", s.replica.Namespace, CASecret, fs.ErrNotExist)
	case err != nil:
		return nil, "", fmt.Errorf("reading the Secret %s/%s: %w", s.replica.Namespace, CASecret, err)
	}
	return secret.Data, secret.ResourceVersion, nil
}

// Save replaces what is kept if it is still of the given version ("": there is
// nothing), else it gives fs.ErrExist.
func (s *CAStore) Save(ctx context.Context, data map[string][]byte, version string) error {
	secrets := s.clients.Typed.CoreV1().Secrets(s.replica.Namespace)
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.replica.Namespace, Name: CASecret, ResourceVersion: version},
		Type:       corev1.SecretTypeOpaque,
		Data:       data,
	}
	options := metav1.UpdateOptions{FieldManager: fieldManager}
	var err error
	if version == "" {
		_, err = secrets.Create(ctx, secret, metav1.CreateOptions{FieldManager: fieldManager})
	} else {
		_, err = secrets.Update(ctx, secret, options)
	}
	switch {
	case apierrors.IsAlreadyExists(err), apierrors.IsConflict(err), version != "" && apierrors.IsNotFound(err):
		return fmt.Errorf("the Secret %s/%s is another one by now: %w", s.replica.Namespace, CASecret, fs.ErrExist)
	case err != nil:
		return fmt.Errorf("writing the Secret %s/%s: %w", s.replica.Namespace, CASecret, err)
	}
	return nil
}

// Publish has the leader publish certificates (PEM). It returns at once: the
// leader puts them where they are not yet, and puts them back if somebody
// changes or deletes them.
func (s *CAStore) Publish(_ context.Context, bundle []byte) error {
	s.mu.Lock()
	s.bundle = slices.Clone(bundle)
	s.mu.Unlock()
	s.rouse()
	return nil
}

// Lead publishes until ctx is done.
func (s *CAStore) Lead(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	s.mu.Lock()
	clear(s.published) // of an earlier term
	s.mu.Unlock()
	seen := newHealth("published certificates", s.logger)
	running.Go(func() { s.follow(ctx, seen) })
	running.Go(func() { s.hooks.follow(ctx) })
	select {
	case <-seen.seen:
	case <-ctx.Done():
		return
	}
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-s.wake:
		case <-retry.C:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(publishHold):
		case <-ctx.Done():
			return
		}
		if !s.publishAll(ctx) {
			retry.Reset(publishRetry)
		}
	}
}

// follow watches what is published, in all namespaces, by its name alone.
func (s *CAStore) follow(ctx context.Context, h *health) {
	f := newFeed(h, &corev1.ConfigMap{},
		func(in *corev1.ConfigMap) []byte { return []byte(in.Data[CAKey]) },
		func(k inventory.Key, bundle []byte, _ time.Time) {
			s.mu.Lock()
			if bundle == nil {
				delete(s.published, k.Namespace)
			} else {
				s.published[k.Namespace] = bundle
			}
			s.mu.Unlock()
			s.rouse()
		})
	f.run(ctx, follow(s.clients.Typed.CoreV1().ConfigMaps(""), h, named(CAConfigMap)))
}

// publishAll brings all namespaces up to date, and reports whether they are.
func (s *CAStore) publishAll(ctx context.Context) bool {
	s.mu.Lock()
	bundle := s.bundle
	var stale []string
	for _, ns := range append(s.board.namespaces(), s.replica.Namespace) {
		if !bytes.Equal(s.published[ns], bundle) {
			stale = append(stale, ns)
		}
	}
	s.mu.Unlock()
	if len(bundle) == 0 {
		return true
	}
	done := s.hooks.publish(ctx, bundle)
	for _, ns := range stale {
		err := s.publishIn(ctx, ns, bundle)
		ending := apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) // nothing is made there any more
		if err != nil && !ending && ctx.Err() == nil {
			done = false
			s.logger.Warn("proxies of a namespace cannot be told what to trust", "namespace", ns, "error", err)
		}
	}
	return done
}

// publishIn writes the ConfigMap of a namespace. Server-side apply names it in
// the request, so that a role may allow it for this name alone, creation
// included.
func (s *CAStore) publishIn(ctx context.Context, namespace string, bundle []byte) error {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	config := applycorev1.ConfigMap(CAConfigMap, namespace).WithData(map[string]string{CAKey: string(bundle)})
	options := metav1.ApplyOptions{FieldManager: fieldManager, Force: true}
	if _, err := s.clients.Typed.CoreV1().ConfigMaps(namespace).Apply(ctx, config, options); err != nil {
		return fmt.Errorf("writing the ConfigMap %s/%s: %w", namespace, CAConfigMap, err)
	}
	s.mu.Lock()
	s.published[namespace] = bundle
	s.mu.Unlock()
	return nil
}
