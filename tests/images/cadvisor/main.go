// Package main serves cAdvisor's library with the part of its command that the stack uses: its
// flags for Docker, /metrics and /healthz. The module of the command itself is not published.
package main

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/google/cadvisor/cache/memory"
	"github.com/google/cadvisor/container"
	_ "github.com/google/cadvisor/container/docker/install"
	v2 "github.com/google/cadvisor/info/v2"
	"github.com/google/cadvisor/manager"
	"github.com/google/cadvisor/metrics"
	"github.com/google/cadvisor/utils/sysfs"
	"github.com/google/cadvisor/version"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// Metrics that the command disables by default.
var disabled = container.MetricSet{
	container.MemoryNumaMetrics:              {},
	container.NetworkTcpUsageMetrics:         {},
	container.NetworkUdpUsageMetrics:         {},
	container.NetworkAdvancedTcpUsageMetrics: {},
	container.ProcessSchedulerMetrics:        {},
	container.ProcessMetrics:                 {},
	container.HugetlbUsageMetrics:            {},
	container.ReferencedMemoryMetrics:        {},
	container.CPUTopologyMetrics:             {},
	container.ResctrlMetrics:                 {},
	container.CPUSetMetrics:                  {},
}

var (
	ip           = flag.String("listen_ip", "", "address to listen on, all by default")
	port         = flag.Int("port", 8080, "port to listen on")
	duration     = flag.Duration("storage_duration", 2*time.Minute, "how long to keep data")
	storeLabels  = flag.Bool("store_container_labels", true, "turn container labels into metric labels")
	printVersion = flag.Bool("version", false, "print the version and exit")
)

func main() {
	klog.InitFlags(nil)
	flag.Var(&disabled, "disable_metrics", "comma-separated list of metrics to leave out")
	flag.Parse()
	if *printVersion {
		fmt.Printf("cAdvisor version %s\n", version.Info["version"])
		return
	}
	// The flag replaces the set; these two need parts that are not built here.
	disabled[container.PerfMetrics] = struct{}{}
	disabled[container.ResctrlMetrics] = struct{}{}
	included := container.AllMetrics.Difference(disabled)
	cadvisor, err := manager.New(memory.New(*duration, nil), sysfs.NewRealSysFs(),
		manager.HousekeepingConfigFlags, included, http.DefaultClient, []string{""}, []string{""}, "", 0)
	if err != nil {
		klog.Fatalf("cannot create the manager: %v", err)
	}
	if err := cadvisor.Start(); err != nil {
		klog.Fatalf("cannot start the manager: %v", err)
	}
	go stopOnSignal(cadvisor)
	serve(cadvisor, included)
}

func serve(cadvisor manager.Manager, included container.MetricSet) {
	labels := metrics.DefaultContainerLabels
	if !*storeLabels {
		labels = metrics.BaseContainerLabels(nil)
	}
	options := v2.RequestOptions{IdType: v2.TypeName, Count: 1, Recursive: true}
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		metrics.NewPrometheusCollector(cadvisor, labels, included, clock.RealClock{}, options),
		metrics.NewPrometheusMachineCollector(cadvisor, included),
	)
	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	http.HandleFunc("/healthz", func(response http.ResponseWriter, _ *http.Request) { fmt.Fprint(response, "ok") })
	klog.Fatal(http.ListenAndServe(fmt.Sprintf("%s:%d", *ip, *port), nil))
}

func stopOnSignal(cadvisor manager.Manager) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	<-signals
	if err := cadvisor.Stop(); err != nil {
		klog.Errorf("cannot stop the manager: %v", err)
	}
	os.Exit(0)
}
