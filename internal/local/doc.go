// Package local keeps the services of `make demo` on one Linux machine: the
// virtual environment they come from, Postgres, MLflow, and programs of our own
// that outlive the command which started them.
//
// All of it lives in one folder, the State. A service is a detached process in
// a session of its own, with a record (run/<name>.json) of its pid and start
// time, so that the next command finds it again and never signals a stranger
// who got the pid later. Every process also carries the state's folder in its
// environment (Marker): what a killed command left behind, with no record, is
// found by it. Commands that change services hold the state's lock.
package local
