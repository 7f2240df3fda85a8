// Package initramfs makes the root file system that a guest's kernel starts
// with: a cpio archive that it unpacks into memory before it runs /init
// (Documentation/driver-api/early-userspace/buffer-format.rst of Linux).
//
// An [Image] collects what is to be in it, by the names that things have in the
// guest; [Image.AddProgram] takes a program of a machine with all the libraries
// that it is linked with. [Writer] is the format.
//
// The same content makes the same bytes, whenever and wherever it is written:
// entries are in the order of their names, and belong to root; times are that of
// the epoch.
package initramfs
