//go:build linux

package vfiouser_test

import (
	"testing"

	"github.com/zctap/zctap/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }
