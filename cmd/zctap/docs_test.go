package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestCommandIsDocumented: docs/command.md has each command, and each field that --json
// prints.
func TestCommandIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/command.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(text)
	for _, v := range verbs {
		if !strings.Contains(doc, "`zctap "+v.name+" ") && !strings.Contains(doc, "`zctap "+v.name+"`") {
			t.Errorf("docs/command.md does not have zctap %s", v.name)
		}
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	tag := regexp.MustCompile("`json:\"([a-z0-9_]+)")
	fields := 0
	for _, f := range files {
		source, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range tag.FindAllSubmatch(source, -1) {
			fields++
			if !strings.Contains(doc, "`"+string(m[1])+"`") {
				t.Errorf("docs/command.md does not have %s, of %s", m[1], f)
			}
		}
	}
	if fields < 50 {
		t.Errorf("only %d fields in the source", fields)
	}
}
