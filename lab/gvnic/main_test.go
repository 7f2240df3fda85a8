//go:build linux

package gvnic

import (
	"testing"

	"github.com/zctap/zctap/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }
