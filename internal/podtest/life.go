package podtest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

// restartPause is between the end of a container and its next start. The kubelet begins with 10 s.
const restartPause = 200 * time.Millisecond

// container is one of a pod.
type container struct {
	// Read-only after construction.
	spec    *corev1.Container
	name    string        // podman's
	started chan struct{} // closed when it runs for the first time
	done    chan struct{} // closed when it will not run again
	leave   chan struct{} // closed when it is to end
	quit    func()

	mu    sync.Mutex // guards codes
	codes []int      // with which it has ended
}

func (c *container) exits() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.codes)
}

func (c *container) note(code int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.codes = append(c.codes, code)
}

// stays reports whether an init container is a sidecar.
func (c *container) stays() bool {
	return c.spec.RestartPolicy != nil && *c.spec.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// container is podman's name of one.
func (p *Pod) container(name string) string { return p.name + "-" + name }

func (p *Pod) all() []*container { return slices.Concat(p.inits, p.apps) }

func (p *Pod) makeAll(specs []corev1.Container) []*container {
	p.tb.Helper()
	var out []*container
	for i := range specs {
		c := &container{
			spec: &specs[i], name: p.container(specs[i].Name),
			started: make(chan struct{}), done: make(chan struct{}), leave: make(chan struct{}),
		}
		c.quit = sync.OnceFunc(func() { close(c.leave) })
		p.create(c.spec)
		out = append(out, c)
	}
	return out
}

// live is the pod's life.
func (p *Pod) live() {
	defer close(p.ended)
	var running []*container
	for _, c := range p.inits {
		if !p.begin(c, &running) {
			p.finish(running)
			return
		}
	}
	for _, c := range p.apps {
		if !p.begin(c, &running) {
			p.finish(running)
			return
		}
	}
	close(p.up)
	p.status(corev1.PodRunning, true)
	for _, c := range p.apps {
		select {
		case <-c.done:
		case <-p.quit:
		}
	}
	p.finish(running)
}

// begin starts a container and waits until the next one may start; false: never.
func (p *Pod) begin(c *container, running *[]*container) bool {
	*running = append(*running, c)
	go p.run(c, p.again(c))
	select {
	case <-c.started:
	case <-c.done:
	case <-p.quit:
		return false
	}
	var err error
	switch isInit := slices.Contains(p.inits, c); {
	case !isInit:
		err = p.postStart(c)
	case c.stays():
		if err = p.postStart(c); err == nil {
			err = p.startup(c)
		}
	default:
		select {
		case <-c.done:
		case <-p.quit:
			return false
		}
		if codes := c.exits(); len(codes) == 0 || codes[len(codes)-1] != 0 {
			err = fmt.Errorf("it ended with %v", codes)
		}
	}
	if err != nil {
		p.mu.Lock()
		p.failed = fmt.Errorf("container %s: %w", c.spec.Name, err)
		p.mu.Unlock()
	}
	return err == nil
}

// again says whether a container that ended with a code is started anew.
func (p *Pod) again(c *container) func(code int) bool {
	isInit := slices.Contains(p.inits, c)
	return func(code int) bool {
		switch p.pod.Spec.RestartPolicy {
		case corev1.RestartPolicyNever:
			return c.stays()
		case corev1.RestartPolicyOnFailure:
			return c.stays() || code != 0
		default:
			return c.stays() || !isInit || code != 0
		}
	}
}

// run keeps a container running for as long as the pod's policy wants it.
func (p *Pod) run(c *container, again func(code int) bool) {
	defer close(c.done)
	for first := true; ; first = false {
		if _, err := p.node.podmanIn(p.ctx, "start", c.name); err != nil {
			p.tb.Logf("%v", err)
			c.note(-1)
			return
		}
		if first {
			close(c.started)
		}
		p.awaitExit(c)
		out, err := p.node.podmanIn(p.ctx, "wait", c.name)
		code, bad := strconv.Atoi(strings.TrimSpace(out))
		if err != nil || bad != nil {
			code = -1
		}
		c.note(code)
		select {
		case <-c.leave:
			return
		default:
		}
		if !again(code) {
			return
		}
		select {
		case <-c.leave:
			return
		case <-time.After(restartPause):
		}
	}
}

// awaitExit waits until the first process of a container has ended. (podman's own wait asks its database all the time.)
func (p *Pod) awaitExit(c *container) {
	out, err := p.node.podmanIn(p.ctx, "container", "inspect", "--format", "{{.State.Pid}}", c.name)
	pid, bad := strconv.Atoi(strings.TrimSpace(out))
	if err != nil || bad != nil || pid == 0 {
		return
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return // it has ended
	}
	defer unix.Close(fd)
	const interval = 100 // milliseconds after which it is seen that nobody waits any more
	for p.ctx.Err() == nil {
		if n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, interval); n > 0 {
			return
		}
	}
}

var errGone = errors.New("the pod is to end")

// startup waits for a container's startup probe.
func (p *Pod) startup(c *container) error {
	probe := c.spec.StartupProbe
	if probe == nil {
		return nil
	}
	tick := time.NewTicker(time.Duration(max(probe.PeriodSeconds, 1)) * time.Second)
	defer tick.Stop()
	var err error
	for range max(probe.FailureThreshold, 1) {
		if err = p.probe(c, probe); err == nil {
			return nil
		}
		select {
		case <-p.quit:
			return errGone
		case <-tick.C:
		}
	}
	return fmt.Errorf("startup probe: %w", err)
}

// slack is added to the time limits of probes: podman takes a while to run a command on a loaded machine.
const slack = 20 * time.Second

func (p *Pod) probe(c *container, probe *corev1.Probe) error {
	ctx, cancel := context.WithTimeout(p.ctx, time.Duration(max(probe.TimeoutSeconds, 1))*time.Second+slack)
	defer cancel()
	switch {
	case probe.Exec != nil:
		_, err := p.node.podmanIn(ctx, append([]string{"exec", c.name}, probe.Exec.Command...)...)
		return err
	case probe.HTTPGet != nil:
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Address+":"+probe.HTTPGet.Port.String()+probe.HTTPGet.Path, http.NoBody)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode >= http.StatusBadRequest {
			return fmt.Errorf("%s, %w", resp.Status, err)
		}
		return nil
	}
	return errors.New("it is none that these tests know")
}

// postStart runs a container's first command, for whose end the pod waits.
func (p *Pod) postStart(c *container) error {
	if c.spec.Lifecycle == nil || c.spec.Lifecycle.PostStart == nil || c.spec.Lifecycle.PostStart.Exec == nil {
		return nil
	}
	_, err := p.node.podmanIn(p.ctx, append([]string{"exec", c.name}, c.spec.Lifecycle.PostStart.Exec.Command...)...)
	return err
}

// leastGrace is what sidecars have when the containers have used up the grace period.
const leastGrace = 2 * time.Second

// finish ends what runs: the containers together, then the sidecars, last come first served.
func (p *Pod) finish(running []*container) {
	grace := gracePeriod
	if s := p.pod.Spec.TerminationGracePeriodSeconds; s != nil {
		grace = time.Duration(*s) * time.Second
	}
	if p.hurry.Load() {
		grace = leastGrace
	}
	ctx, cancel := context.WithTimeout(p.ctx, grace)
	defer cancel()
	var together sync.WaitGroup
	for _, c := range running {
		if slices.Contains(p.apps, c) {
			together.Go(func() { p.terminate(ctx, c) })
		}
	}
	together.Wait()
	if left, _ := ctx.Deadline(); time.Until(left) < leastGrace {
		var more context.CancelFunc
		ctx, more = context.WithTimeout(p.ctx, leastGrace)
		defer more()
	}
	for _, c := range slices.Backward(running) {
		if !slices.Contains(p.apps, c) {
			p.terminate(ctx, c)
		}
	}
	p.status(p.phase(), false)
}

// terminate ends a container with SIGTERM, and with SIGKILL when the pod's grace period is over.
func (p *Pod) terminate(ctx context.Context, c *container) {
	c.quit()
	select {
	case <-c.done:
		return
	default:
	}
	if l := c.spec.Lifecycle; l != nil && l.PreStop != nil && l.PreStop.Exec != nil {
		if _, err := p.node.podmanIn(ctx, append([]string{"exec", c.name}, l.PreStop.Exec.Command...)...); err != nil {
			p.tb.Logf("preStop: %v", err)
		}
	}
	// It may be gone by now, or just be starting.
	tick := time.NewTicker(restartPause)
	defer tick.Stop()
	for told := false; ; {
		if !told {
			_, err := p.node.podman("kill", "--signal", "TERM", c.name)
			told = err == nil
		}
		select {
		case <-c.done:
			return
		case <-ctx.Done():
			_, _ = p.node.podman("kill", "--signal", "KILL", c.name)
			<-c.done
			return
		case <-tick.C:
		}
	}
}

// phase is what becomes of a pod by how its containers ended.
func (p *Pod) phase() corev1.PodPhase {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed != nil {
		return corev1.PodFailed
	}
	for _, c := range p.apps {
		if codes := c.exits(); len(codes) == 0 || codes[len(codes)-1] != 0 {
			return corev1.PodFailed
		}
	}
	return corev1.PodSucceeded
}
