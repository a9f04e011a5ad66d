// Package prepare builds what has to exist before the platform's services can start on
// this machine: the virtual environment they come from, and our own programs. It
// imports little beyond the standard library, so that tools/launch, which a cold `make
// demo` waits for, compiles in seconds.
package prepare
