package kube

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
)

// Audience is that of the tokens which proxies show.
const Audience = "dragoman"

// Where a review says what a token is bound to.
const (
	extraPodName       = "authentication.kubernetes.io/pod-name"
	extraPodUID        = "authentication.kubernetes.io/pod-uid"
	serviceAccountUser = "system:serviceaccount:"
)

// Bounds of reviews.
const (
	positiveLife  = time.Minute      // of an answer in the cache
	negativeLife  = 5 * time.Second  // of a refusal
	staleLife     = 10 * time.Minute // of an answer while nobody can be asked
	awayLife      = 5 * time.Second  // for which the API server is not asked once it did not answer
	reviewTimeout = 10 * time.Second
	renewTimeout  = 2 * time.Second // of a review of a token that was good before
	maxTokenBytes = 16 << 10
	maxCached     = 1 << 16
	maxReviews    = 16 // at once
)

// ErrUnavailable is what a review gives while the API server cannot be asked.
var ErrUnavailable = errors.New("the API server cannot review tokens now")

// Reviewer has the API server say whose a token is.
//
// Answers are kept for a minute, by the token's hash, and never beyond the
// token's end; while the API server is away they are good for ten minutes. Each
// time the pod is looked up: the token of a pod that was deleted is worth nothing,
// not even when another has got its name.
type Reviewer struct {
	// Read-only after construction.
	clients  *Clients
	store    *inventory.Store
	audience string
	turns    chan struct{} // one for each review at once
	now      func() time.Time

	mu      sync.Mutex // guards below
	answers map[tokenHash]*answer
	away    time.Time // nobody is asked until then
}

type tokenHash [sha256.Size]byte

// answer is a review; done is closed when it is there.
type answer struct {
	done     chan struct{}
	identity inventory.Identity
	err      error
	at       time.Time // of the answer
}

// NewReviewer returns a reviewer that knows the pods of an inventory.
func NewReviewer(clients *Clients, store *inventory.Store) *Reviewer {
	return &Reviewer{
		clients: clients, store: store, audience: Audience,
		turns:   make(chan struct{}, maxReviews),
		now:     time.Now,
		answers: make(map[tokenHash]*answer),
	}
}

// Review says whose a token is. It gives inventory.ErrUnauthenticated for one
// that is wrong, expired, not for this audience, bound to no pod or to one that
// is gone; ErrUnavailable when nobody could be asked.
func (r *Reviewer) Review(ctx context.Context, token string) (inventory.Identity, error) {
	if token == "" || len(token) > maxTokenBytes {
		return inventory.Identity{}, fmt.Errorf("%w: there is no token, or one of more than %d bytes", inventory.ErrUnauthenticated, maxTokenBytes)
	}
	hash := sha256.Sum256([]byte(token))
	known := r.answer(ctx, hash, token)
	if known.err != nil {
		return inventory.Identity{}, known.err
	}
	if end := known.identity.Expires; !end.IsZero() && !r.now().Before(end) {
		return inventory.Identity{}, fmt.Errorf("%w: the token has expired", inventory.ErrUnauthenticated)
	}
	if err := r.checkPod(ctx, known.identity); err != nil {
		return inventory.Identity{}, err
	}
	return known.identity, nil
}

// answer gives one that is known and still good, waits for one that is on its
// way, or asks.
func (r *Reviewer) answer(ctx context.Context, hash tokenHash, token string) *answer {
	now := r.now()
	r.mu.Lock()
	former := r.answers[hash]
	switch {
	case former != nil && !former.arrived():
		r.mu.Unlock()
		return former.wait(ctx)
	case former != nil && now.Sub(former.at) < former.life(now.Before(r.away)):
		r.mu.Unlock()
		return former
	case now.Before(r.away):
		r.mu.Unlock()
		return &answer{err: ErrUnavailable}
	}
	own := &answer{done: make(chan struct{})}
	r.answers[hash] = own
	r.mu.Unlock()

	// Others may wait for it: it does not end with the one who happened to ask.
	limit := reviewTimeout
	if former.usable(now) {
		limit = renewTimeout // there is something to fall back on
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	identity, err := r.review(ctx, token)
	return r.fill(hash, own, former, identity, err)
}

// fill makes an answer of a review. While nobody can be asked, a former one that
// was good is good for longer.
func (r *Reviewer) fill(hash tokenHash, own, former *answer, identity inventory.Identity, err error) *answer {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	defer close(own.done)
	own.identity, own.err, own.at = identity, err, now
	if errors.Is(err, ErrUnavailable) {
		r.away = now.Add(awayLife)
		delete(r.answers, hash)
		if former.usable(now) {
			own.identity, own.err = former.identity, nil
			r.answers[hash] = former
		}
	}
	r.trimLocked(now)
	return own
}

func (a *answer) arrived() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// usable reports whether an answer is good for as long as nobody can be asked.
func (a *answer) usable(now time.Time) bool {
	return a != nil && a.err == nil && now.Sub(a.at) < staleLife
}

// life is for how long an answer is believed.
func (a *answer) life(away bool) time.Duration {
	switch {
	case a.err != nil:
		return negativeLife
	case away:
		return staleLife
	}
	return positiveLife
}

func (a *answer) wait(ctx context.Context) *answer {
	select {
	case <-a.done:
		return a
	case <-ctx.Done():
		return &answer{err: fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())}
	}
}

// trimLocked keeps the cache within its bound: first the answers that no one
// would use any more go, then any, until there is room for many.
func (r *Reviewer) trimLocked(now time.Time) {
	if len(r.answers) <= maxCached {
		return
	}
	const enough = maxCached / 8 * 7
	useless := func(a *answer) bool { return a.err != nil || now.Sub(a.at) >= positiveLife }
	for _, drop := range []func(*answer) bool{useless, func(*answer) bool { return true }} {
		for hash, a := range r.answers {
			if len(r.answers) <= enough {
				return
			}
			if a.arrived() && drop(a) {
				delete(r.answers, hash)
			}
		}
	}
}

func (r *Reviewer) review(ctx context.Context, token string) (inventory.Identity, error) {
	select {
	case r.turns <- struct{}{}:
		defer func() { <-r.turns }()
	case <-ctx.Done():
		return inventory.Identity{}, fmt.Errorf("%w: too many at once", ErrUnavailable)
	}
	out, err := r.clients.Typed.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{r.audience}},
	}, metav1.CreateOptions{})
	if err != nil {
		return inventory.Identity{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return r.identity(&out.Status, token)
}

// identity reads a review.
func (r *Reviewer) identity(s *authenticationv1.TokenReviewStatus, token string) (inventory.Identity, error) {
	refuse := func(why string) (inventory.Identity, error) {
		return inventory.Identity{}, fmt.Errorf("%w: %s", inventory.ErrUnauthenticated, why)
	}
	switch {
	case !s.Authenticated:
		return refuse("the API server does not take the token for the audience " + r.audience)
	case !slices.Contains(s.Audiences, r.audience):
		// An authenticator that knows nothing of audiences gives none.
		return refuse("the token is not for the audience " + r.audience)
	}
	account, ok := strings.CutPrefix(s.User.Username, serviceAccountUser)
	namespace, name, two := strings.Cut(account, ":")
	if !ok || !two {
		return refuse("the token is not that of a service account")
	}
	id := inventory.Identity{
		Namespace: namespace, ServiceAccount: name,
		Pod: first(s.User.Extra[extraPodName]), PodUID: first(s.User.Extra[extraPodUID]),
		Expires: expiry(token),
	}
	if id.Pod == "" || id.PodUID == "" {
		return refuse("the token is not bound to a pod: a projected volume (serviceAccountToken) gives one that is")
	}
	return id, nil
}

func first(v authenticationv1.ExtraValue) string {
	if len(v) == 0 {
		return ""
	}
	return v[0]
}

// expiry reads the end of a token that was found good; zero: it has none that
// can be read. It only shortens how long an answer is believed.
func expiry(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}
	}
	var claims struct {
		Exp int64 `json:"exp"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil || claims.Exp <= 0 {
		return time.Time{}
	}
	return time.Unix(claims.Exp, 0)
}

// checkPod refuses a pod that is gone. The inventory may be a moment behind: if
// it does not have the pod, the API server is asked.
func (r *Reviewer) checkPod(ctx context.Context, id inventory.Identity) error {
	k := inventory.Key{Namespace: id.Namespace, Name: id.Pod}
	if p := r.store.Pod(k); p != nil && p.UID == id.PodUID {
		return ownAccount(p.ServiceAccount, id)
	}
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	p, err := r.clients.Typed.CoreV1().Pods(id.Namespace).Get(ctx, id.Pod, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%w: the pod %s does not exist any more", inventory.ErrUnauthenticated, k)
	case err != nil:
		return fmt.Errorf("%w: looking for the pod %s: %w", ErrUnavailable, k, err)
	case string(p.UID) != id.PodUID:
		return fmt.Errorf("%w: the pod %s is another one than that of the token", inventory.ErrUnauthenticated, k)
	}
	return ownAccount(p.Spec.ServiceAccountName, id)
}

func ownAccount(account string, id inventory.Identity) error {
	if account != id.ServiceAccount {
		return fmt.Errorf("%w: the pod %s/%s has another service account", inventory.ErrUnauthenticated, id.Namespace, id.Pod)
	}
	return nil
}
