//go:build !amd64

package tree

// vectors says that passAVX2 can be called.
var vectors = false

func passAVX2(*groupPass) { panic("tree: no vector instructions") }
