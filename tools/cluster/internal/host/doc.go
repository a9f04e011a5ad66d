// Package host reads and changes the one machine that a node runs on: its
// processes, mounts, cgroups, network interfaces and packet filter.
//
// process.go and lock.go are symbolic links to the main module's internal/host.
// Importing that package instead would tie this module's go.mod, and with it the
// digest that names the built Kubernetes, to every dependency of the platform.
package host
