//go:build !linux

package boltstore_test

func avoidDisk() {}
