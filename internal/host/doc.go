// Package host reads the facts of the machine that a program runs on: its
// processes with their start times, the ports they listen on, and file locks
// between commands. It needs Linux' /proc; elsewhere it compiles, and its calls
// return errors or nothing.
//
// process.go and lock.go are also part of tools/cluster, which is a module of
// its own, by symbolic links; see docs/decisions/0007-one-node-cluster.md.
package host
