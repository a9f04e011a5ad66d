package tree

import "golang.org/x/sys/cpu"

var vectors = cpu.X86.HasAVX2 && cpu.X86.HasFMA

// passAVX2 is pass, in vector instructions.
//
//go:noescape
func passAVX2(p *groupPass)
