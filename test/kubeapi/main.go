// Command kubeapi is the part of Kubernetes that the tests run against, linked into one program to be built once:
//
//	kubeapi kube-apiserver ...            the API server, with its own flags
//	kubeapi etcd ...                      where it keeps its objects, with its own flags
//	kubeapi kubectl ...                   kubectl, with its own flags
//	kubeapi endpointslices KUBECONFIG     the controller that makes EndpointSlices of Services and Pods, until SIGTERM
//
// Under the name of one of these (a link) it is that program. etcd is the version that Kubernetes' own tests take; with those of Linux
// distributions (Debian 12 has 3.4.23) the API server falls back to other ways of watching than it has in a cluster of today, or times out.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/version" // the metric with the build's version
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/pkg/controller/endpointslice"
)

var errUsage = errors.New("usage: kubeapi kube-apiserver|etcd|kubectl|endpointslices ...")

func main() {
	programs := []string{"kube-apiserver", "etcd", "kubectl", "endpointslices"}
	name := filepath.Base(os.Args[0])
	if !slices.Contains(programs, name) && len(os.Args) > 1 {
		// Kubernetes' commands read os.Args themselves, and some of them act on the program's name.
		os.Args = os.Args[1:]
		name = os.Args[0]
	}
	switch name {
	case "kube-apiserver":
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	case "etcd":
		etcdmain.Main(os.Args)
	case "kubectl":
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			kubectlutil.CheckErr(err)
		}
	case "endpointslices":
		exitOn(runEndpointSlices())
	default:
		exitOn(errUsage)
	}
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// runEndpointSlices runs the EndpointSlice controller, as kube-controller-manager would, until SIGTERM.
func runEndpointSlices() error {
	if len(os.Args) != 2 {
		return errUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	config, err := clientcmd.BuildConfigFromFlags("", os.Args[1])
	if err != nil {
		return fmt.Errorf("reading %s: %w", os.Args[1], err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making a client of %s: %w", os.Args[1], err)
	}
	const (
		endpointsPerSlice = 100
		workers           = 2
	)
	factory := informers.NewSharedInformerFactory(client, 10*time.Minute)
	controller := endpointslice.NewController(ctx, factory.Core().V1().Pods(), factory.Core().V1().Services(), factory.Core().V1().Nodes(),
		factory.Discovery().V1().EndpointSlices(), endpointsPerSlice, client, 0)
	factory.Start(ctx.Done())
	controller.Run(ctx, workers)
	return nil
}
