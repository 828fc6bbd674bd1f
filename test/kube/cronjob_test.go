package kube

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// nightly is a CronJob as its owner writes it.
const nightly = `apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "0 3 * * *"
  concurrencyPolicy: Forbid
  jobTemplate:
    metadata: {labels: {of: nightly}}
    spec:
      backoffLimit: 2
      template:
        metadata:
          labels: {app: web}
          annotations: {mesh.dragoman.io/proxy-hints: enabled, mesh.dragoman.io/proxy-memory-limit: 64Mi}
        spec:
          serviceAccountName: web
          restartPolicy: OnFailure
          initContainers: [{name: prepare, image: "redis:7", securityContext: &restricted {allowPrivilegeEscalation: false, runAsNonRoot: true, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}}]
          containers: [{name: report, image: "redis:7", securityContext: *restricted}]
`

// cronJobsAreInjected goes from a CronJob to the Job and the pod that the controllers make of its template: the pod has a proxy, which runs, and no
// template has changed.
func cronJobsAreInjected(t *testing.T, c *cluster) {
	c.injects(t)
	ns, port := c.Namespace(t, "mesh.dragoman.io/inject", "enabled", "pod-security.kubernetes.io/enforce", "restricted"), redistest.Port(t)
	_, address := world(t, "one")
	c.ServiceAccount(t, ns, "web")
	c.Apply(t, ns, ambassador("cache", port, `dev: {address: "`+address+`:6379"}`))

	dry := c.Kubectl(t, []byte(nightly), "-n", ns, "apply", "--dry-run=server", "--warnings-as-errors", "-o", "yaml", "-f", "-")
	if strings.Contains(dry, "dragoman-proxy") {
		t.Errorf("kubectl's dry run changes the template:\n%s", dry)
	}
	if out := c.Kubectl(t, nil, "-n", ns, "get", "cronjobs", "-o", "name"); out != "" {
		t.Errorf("the dry run has made %s", out)
	}
	c.Kubectl(t, []byte(nightly), "-n", ns, "apply", "--warnings-as-errors", "-f", "-")
	c.Kubectl(t, nil, "-n", ns, "create", "job", "--from=cronjob/nightly", "nightly-1")
	var cron batchv1.CronJob
	var job batchv1.Job
	for path, into := range map[string]any{"cronjobs/nightly": &cron, "jobs/nightly-1": &job} {
		if err := c.read("/apis/batch/v1/namespaces/"+ns+"/"+path, into); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(cron.Spec.JobTemplate.Spec.Template.Spec, job.Spec.Template.Spec); diff != "" {
		t.Errorf("templates: -CronJob +Job:\n%s", diff)
	}
	if got := containerNames(job.Spec.Template.Spec.InitContainers); got != "prepare" {
		t.Errorf("init containers of the template: %s", got)
	}

	document := podOfJob(t, &job, "nightly-1-abcde")
	dry = c.Kubectl(t, document, "-n", ns, "create", "--dry-run=server", "-o", "json", "-f", "-")
	c.Kubectl(t, document, "-n", ns, "create", "--warnings-as-errors", "-f", "-")
	pod := c.pod(t, ns, "nightly-1-abcde")
	var shown corev1.Pod
	if err := json.Unmarshal([]byte(dry), &shown); err != nil {
		t.Fatal(err)
	}
	for what, one := range map[string]*corev1.Pod{"the dry run's pod": &shown, "the pod": pod} {
		if got := containerNames(one.Spec.InitContainers); got != "dragoman-proxy prepare" {
			t.Fatalf("init containers of %s: %s", what, got)
		}
		if got := one.Spec.InitContainers[0].Resources.Limits.Memory().String(); got != "64Mi" {
			t.Errorf("limit of %s: %s", what, got)
		}
		if got := fmt.Sprint(one.Spec.Containers[0].Env); !strings.Contains(got, fmt.Sprintf("DRAGOMAN_CACHE_PORT %d", port)) {
			t.Errorf("variables of %s: %s", what, got)
		}
	}
	running := c.runInjected(t, pod, &pod.Spec.InitContainers[0])
	running.Ready("LIVE")
	if got := redistest.Dial(t, local(port)).Do("GET", "where"); got != bulk("one") {
		t.Errorf("through the proxy: %q", got)
	}
}

// podOfJob is what the Job controller makes of a Job.
func podOfJob(t *testing.T, job *batchv1.Job, name string) []byte {
	t.Helper()
	meta := job.Spec.Template.ObjectMeta.DeepCopy()
	meta.Name = name
	meta.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(job, batchv1.SchemeGroupVersion.WithKind("Job"))}
	text, err := json.Marshal(&corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: *meta, Spec: job.Spec.Template.Spec,
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func containerNames(list []corev1.Container) string {
	var names []string
	for i := range list {
		names = append(names, list[i].Name)
	}
	return strings.Join(names, " ")
}
