package podtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dragoman-mesh/dragoman/internal/kubetest"
)

const (
	bridge  = "pods0"
	gateway = "10.201.0.1"
	// gracePeriod is that of a pod that says none.
	gracePeriod = 30 * time.Second
)

// Gateway is the node's own address, as pods see it.
const Gateway = gateway

// Pod is one that runs.
type Pod struct {
	// Read-only after construction.
	Address string
	tb      kubetest.TB
	node    *Node
	pod     *corev1.Pod
	name    string // podman's
	dir     string
	link    string // the node's end of the pod's cable
	netns   string // path of its network namespace
	token   string // folder of the service account's token
	mounts  map[string]string
	inits   []*container
	apps    []*container
	up      chan struct{} // closed when all containers have been started
	ended   chan struct{} // closed when none will run any more
	quit    chan struct{} // closed when the pod is to end
	ctx     context.Context
	cancel  context.CancelFunc
	stop    func()

	hurry atomic.Bool // the test is over

	mu     sync.Mutex // guards below
	failed error      // why the pod could not start
}

// Run starts a pod as it is in the API server, with names of Services and the addresses behind them. It returns before the containers run. The
// address is one that another pod had, or empty: a new one.
func (n *Node) Run(tb kubetest.TB, pod *corev1.Pod, address string, hosts map[string]string) *Pod {
	tb.Helper()
	n.mu.Lock()
	n.pods++
	number := n.pods
	n.mu.Unlock()
	if address == "" {
		address = fmt.Sprintf("10.201.%d.%d", 1+number/250, 1+number%250)
	}
	name := fmt.Sprintf("pod%d", number)
	p := &Pod{
		tb: tb, node: n, pod: pod.DeepCopy(), name: name, link: name, Address: address, dir: filepath.Join(n.dir, name),
		up: make(chan struct{}), ended: make(chan struct{}), quit: make(chan struct{}),
	}
	p.stop = sync.OnceFunc(func() { close(p.quit) })
	p.ctx, p.cancel = context.WithCancel(context.Background())
	if p.pod.Spec.ServiceAccountName == "" {
		p.pod.Spec.ServiceAccountName = "default"
	}
	n.api.ServiceAccount(tb, p.pod.Namespace, p.pod.Spec.ServiceAccountName)
	p.folder(p.dir, 0o755)
	p.network(hosts)
	p.status(corev1.PodPending, false)
	p.mounts = p.volumes()
	if mount := p.pod.Spec.AutomountServiceAccountToken; mount == nil || *mount {
		p.token = p.account()
	}
	p.inits, p.apps = p.makeAll(p.pod.Spec.InitContainers), p.makeAll(p.pod.Spec.Containers)
	go p.live()
	tb.Cleanup(p.end)
	return p
}

// network makes the pod's namespaces, with a cable to the node.
func (p *Pod) network(hosts map[string]string) {
	p.tb.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, "127.0.0.1 localhost\n::1 localhost\n%s %s\n%s kubernetes.default.svc\n", p.Address, p.pod.Name, gateway)
	for name, address := range hosts {
		fmt.Fprintf(&text, "%s %s\n", address, name)
	}
	p.file(p.dir, "hosts", text.String())
	p.node.must(p.tb, "pod", "create", "--name", p.name, "--network", "none", "--no-hosts", "--hostname", p.pod.Name)
	p.node.must(p.tb, "pod", "start", p.name)
	infra := p.node.must(p.tb, "pod", "inspect", "--format", "{{.InfraContainerID}}", p.name)
	pid := p.node.must(p.tb, "container", "inspect", "--format", "{{.State.Pid}}", infra)
	p.node.ip("link", "add", p.link, "type", "veth", "peer", "name", "eth0", "netns", pid)
	p.node.ip("link", "set", p.link, "master", bridge)
	p.node.ip("link", "set", p.link, "up")
	p.netns = "/proc/" + pid + "/ns/net"
	for _, command := range []string{
		"addr add " + p.Address + "/16 dev eth0", "link set eth0 up", "link set lo up", "route add 10.200.0.0/16 via " + gateway,
	} {
		args := append([]string{"--net=" + p.netns, "ip"}, strings.Fields(command)...)
		if out, err := exec.CommandContext(p.ctx, "nsenter", args...).CombinedOutput(); err != nil {
			p.tb.Fatalf("pod %s: ip %s: %v: %s", p.pod.Name, command, err, out)
		}
	}
}

// Cut takes the pod's network away, or gives it back. Localhost stays.
func (p *Pod) Cut(on bool) {
	p.tb.Helper()
	p.node.ip("link", "set", p.link, map[bool]string{true: "down", false: "up"}[on])
}

// Dial connects from within the pod, where localhost is the pod's.
func (p *Pod) Dial(network, address string) (net.Conn, error) {
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	defer here.Close()
	there, err := os.Open(p.netns)
	if err != nil {
		return nil, err
	}
	defer there.Close()
	// A socket belongs to the namespace of the thread that makes it.
	runtime.LockOSThread()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("entering the network of pod %s: %w", p.pod.Name, err)
	}
	conn, err := net.DialTimeout(network, address, dialLimit)
	if back := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); back != nil {
		return nil, errors.Join(err, back) // the thread stays locked, and ends with the goroutine
	}
	runtime.UnlockOSThread()
	return conn, err
}

// Client asks by HTTP from within the pod.
func (p *Pod) Client() *http.Client {
	return &http.Client{Timeout: 2 * dialLimit, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(_ context.Context, network, address string) (net.Conn, error) { return p.Dial(network, address) },
	}}
}

// dialLimit bounds a connect within a pod.
const dialLimit = 5 * time.Second

// Pid is the process id of a container's first process.
func (p *Pod) Pid(container string) string {
	p.tb.Helper()
	return p.node.must(p.tb, "container", "inspect", "--format", "{{.State.Pid}}", p.container(container))
}

// Relabel gives the pod labels, of which the volumes of the downward API have news.
func (p *Pod) Relabel(labels ...string) {
	p.tb.Helper()
	p.pod = p.node.api.Label(p.tb, p.pod, labels...)
	for i := range p.pod.Spec.Volumes {
		if v := &p.pod.Spec.Volumes[i]; v.DownwardAPI != nil {
			p.downward(p.mounts[v.Name], v.DownwardAPI.Items)
		}
	}
}

// status tells the API server of the pod.
func (p *Pod) status(phase corev1.PodPhase, ready bool) {
	is := map[bool]corev1.ConditionStatus{true: corev1.ConditionTrue, false: corev1.ConditionFalse}[ready]
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	pods := p.node.api.Client().CoreV1().Pods(p.pod.Namespace)
	now, err := pods.Get(ctx, p.pod.Name, metav1.GetOptions{})
	if err != nil || now.UID != p.pod.UID {
		return // it was deleted
	}
	now.Status = corev1.PodStatus{
		Phase: phase, PodIP: p.Address, PodIPs: []corev1.PodIP{{IP: p.Address}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: is}, {Type: corev1.ContainersReady, Status: is}},
	}
	if _, err := pods.UpdateStatus(ctx, now, metav1.UpdateOptions{}); err != nil {
		p.tb.Logf("pod %s: telling its status: %v", p.pod.Name, err)
	}
}

// end stops the pod, without much patience, and removes what it leaves.
func (p *Pod) end() {
	p.hurry.Store(true)
	p.stop()
	<-p.ended
	p.cancel()
	if f, ok := p.tb.(interface{ Failed() bool }); ok && f.Failed() {
		for _, c := range p.all() {
			p.tb.Logf("pod %s, container %s, exit codes %s:\n%s", p.pod.Name, c.spec.Name, fmt.Sprint(c.exits()), p.Logs(c.spec.Name))
		}
	}
	if _, err := p.node.podman("pod", "rm", "--force", "--time", "0", p.name); err != nil {
		p.tb.Logf("%v", err)
	}
	_ = os.RemoveAll(p.dir)
}

// AwaitUp waits until all containers have been started.
func (p *Pod) AwaitUp(limit time.Duration) {
	p.tb.Helper()
	select {
	case <-p.up:
	case <-p.ended:
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.failed != nil {
			p.tb.Fatalf("pod %s: %v", p.pod.Name, p.failed)
		}
	case <-time.After(limit):
		p.tb.Fatalf("pod %s: its containers are not up after %v", p.pod.Name, limit)
	}
}

// AwaitEnd waits until the pod has come to its end by itself, and returns its phase.
func (p *Pod) AwaitEnd(limit time.Duration) corev1.PodPhase {
	p.tb.Helper()
	select {
	case <-p.ended:
	case <-time.After(limit):
		p.tb.Fatalf("pod %s has not ended after %v", p.pod.Name, limit)
	}
	return p.phase()
}

// Delete ends the pod as `kubectl delete` does, and waits until it has.
func (p *Pod) Delete() {
	p.tb.Helper()
	p.stop()
	<-p.ended
	p.node.api.DeletePod(p.tb, p.pod)
}

// Exec runs a command in a container, as `kubectl exec` does.
func (p *Pod) Exec(container string, command ...string) (string, error) {
	return p.node.podman(append([]string{"exec", p.container(container)}, command...)...)
}

// Signal sends a signal to the first process of a container.
func (p *Pod) Signal(container string, sig syscall.Signal) {
	p.tb.Helper()
	p.node.must(p.tb, "kill", "--signal", strconv.Itoa(int(sig)), p.container(container))
}

// Logs is what a container has printed since it was made.
func (p *Pod) Logs(container string) string {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "podman", "logs", p.container(container))
	cmd.Env = p.node.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out) + err.Error()
	}
	return string(out)
}

// Exits are the codes with which a container has ended, 137 after SIGKILL.
func (p *Pod) Exits(container string) []int {
	for _, c := range p.all() {
		if c.spec.Name == container {
			return c.exits()
		}
	}
	p.tb.Fatalf("pod %s has no container %s", p.pod.Name, container)
	return nil
}
