//go:build !linux

package program

import "syscall"

// dieWithParent does nothing where the kernel can't tie a child to its parent.
func dieWithParent() *syscall.SysProcAttr { return nil }
