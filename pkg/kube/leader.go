package kube

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// Replica is one of the processes that make up a control plane.
type Replica struct {
	// Name is that of the pod, or another that no other replica has.
	Name string
	// Namespace is the control plane's own.
	Namespace string
}

// leaseName is that of the Lease whose holder leads.
const leaseName = "dragoman-controlplane"

// leaseDuration is as Kubernetes' own components have it, and so are its ratios
// to the time after which a leader resigns that cannot renew, and to that between
// attempts.
const leaseDuration = 15 * time.Second

// Leader takes part in the election of the one replica that writes.
type Leader struct {
	clients  *Clients
	replica  Replica
	logger   *slog.Logger
	lease    time.Duration // of the Lease; the other times follow from it
	isLeader atomic.Bool
}

// LeaderOptions change a Leader; the zero value is ready for use.
type LeaderOptions struct {
	Logger *slog.Logger // default: slog.Default()
	// LeaseDuration is for how long a leader that vanished is still believed to be
	// there; default 15s, at least 2s.
	LeaseDuration time.Duration
}

// NewLeader returns a candidate that is not running yet.
func NewLeader(clients *Clients, replica Replica, o LeaderOptions) *Leader {
	return &Leader{
		clients: clients, replica: replica,
		logger: cmp.Or(o.Logger, slog.Default()),
		lease:  max(cmp.Or(o.LeaseDuration, leaseDuration), 2*time.Second),
	}
}

// IsLeader reports whether this replica leads.
func (l *Leader) IsLeader() bool { return l.isLeader.Load() }

// Run stands for election until ctx is done. While this replica leads, all tasks
// run, each until its context is done. At the end the Lease is given up after the
// tasks have ended, so that the next leader need not wait for it to expire.
func (l *Leader) Run(ctx context.Context, tasks ...func(ctx context.Context)) error {
	for ctx.Err() == nil {
		if err := l.term(ctx, tasks); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(l.lease / 8):
		}
	}
	return nil
}

// term is from standing for election to losing the Lease, or to ctx.
func (l *Leader) term(ctx context.Context, tasks []func(ctx context.Context)) error {
	// The election outlives ctx until the tasks have ended.
	election, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	elected := make(chan context.Context, 1)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Name: leaseName,
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: l.replica.Namespace, Name: leaseName},
			Client:     l.clients.Typed.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: l.replica.Name},
		},
		LeaseDuration:   l.lease,
		RenewDeadline:   l.lease * 2 / 3,
		RetryPeriod:     l.lease * 2 / 15,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) { elected <- ctx },
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("standing for election in %s/%s: %w", l.replica.Namespace, leaseName, err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		elector.Run(election)
	}()
	select {
	case leading := <-elected:
		l.lead(ctx, leading, tasks)
	case <-ctx.Done():
	case <-over:
	}
	giveUp()
	<-over
	return nil
}

// lead runs the tasks until one of the contexts is done.
func (l *Leader) lead(ctx, leading context.Context, tasks []func(ctx context.Context)) {
	leading, stop := context.WithCancel(leading)
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	l.isLeader.Store(true)
	l.logger.Info("leading: this replica writes the status of objects", "replica", l.replica.Name)
	var running sync.WaitGroup
	for _, task := range tasks {
		running.Go(func() { task(leading) })
	}
	running.Wait()
	l.isLeader.Store(false)
	l.logger.Info("leading no more", "replica", l.replica.Name)
}
