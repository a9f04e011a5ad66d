// Program kube is the five Kubernetes programs of a node in one file, chosen by
// the first argument: linked once, they take a third of the space and time of
// five.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

var programs = map[string]func() *cobra.Command{
	"apiserver":          apiserver.NewAPIServerCommand,
	"controller-manager": controllers.NewControllerManagerCommand,
	"scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"proxy":              proxy.NewProxyCommand,
	// The kubelet sets up its own signal context, so it gets a bare one.
	"kubelet": func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
}

func main() {
	if len(os.Args) < 2 || programs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: kube apiserver|controller-manager|scheduler|proxy|kubelet [flags]")
		os.Exit(2)
	}
	if err := nameRuntime(os.Getenv("CONTAINERD_ADDRESS")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	command := programs[os.Args[1]]()
	os.Args = append([]string{"kube-" + os.Args[1]}, os.Args[2:]...)
	os.Exit(cli.Run(command))
}

// nameRuntime tells cAdvisor the socket of containerd, whose pods' names it puts on the
// kubelet's metrics of containers. It has a Go flag for that which the kubelet's command
// line lacks. An empty address leaves the default, /run/containerd/containerd.sock.
func nameRuntime(address string) error {
	if address == "" {
		return nil
	}
	if err := flag.Set("containerd", address); err != nil {
		return fmt.Errorf("naming the container runtime: %w", err)
	}
	return nil
}
