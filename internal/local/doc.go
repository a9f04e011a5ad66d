// Package local runs the services of `make demo` on one Linux machine: the
// virtual environment they come from, Postgres, MLflow, and our own programs,
// all of which outlive the command that started them.
//
// Everything lives in one folder, the State. A service is a detached process in
// a session of its own, with a record (run/<name>.json) of its pid and start
// time, so that the next command finds it again and never signals an unrelated
// process that got the pid later. Every process also carries the state's folder
// in its environment (Marker), by which processes are found that a killed
// command left without a record. Commands that change services hold the state's
// lock.
package local
