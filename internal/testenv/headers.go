package testenv

import (
	"os"
	"path/filepath"
)

// KernelInclude is the environment variable that names folders of newer kernel
// headers than the machine's, separated by colons: tests that compare structures of
// the kernel with its headers leave out what those of the machine lack, and nothing
// with these. TestLabKernelHeaders sets it.
const KernelInclude = "ZCTAP_KERNEL_INCLUDE"

// NewerKernelHeaders are the folders that KernelInclude names.
func NewerKernelHeaders() []string { return filepath.SplitList(os.Getenv(KernelInclude)) }
