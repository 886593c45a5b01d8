package main

import (
	"fmt"
	"slices"
	"strings"
)

const (
	switchFile = "m__switch.go"

	// envFault has the number of the fault that is on. Without it the package is as it should be.
	envFault = "MUTANTS_FAULT"
	// envReached names a file for the numbers of the faults whose code has run.
	envReached = "MUTANTS_REACHED"
)

// switches returns the text of the file that the rewritten package has in addition.
func (n *typeNames) switches(packageName string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "package %s\n\nimport (\n\tm__os \"os\"\n\tm__strconv \"strconv\"\n\tm__sync \"sync\"\n", packageName)
	for i, path := range n.imports {
		fmt.Fprintf(&b, "\tm__p%d %q\n", i, path)
	}
	b.WriteString(")\n\n")
	for i, name := range n.aliases {
		fmt.Fprintf(&b, "type m__t%d = %s\n", i, name)
	}
	fmt.Fprintf(&b, "\nvar m__on, _ = m__strconv.Atoi(m__os.Getenv(%q))\nvar m__file = m__os.Getenv(%q)\n", envFault, envReached)
	b.WriteString(switchCode)
	return []byte(b.String())
}

const switchCode = `
var m__seen m__sync.Map

func m__[T any](number int, faulty, right func() T) T {
	if m__isOn(number) {
		return faulty()
	}
	return right()
}

func m__do(number int, faulty, right func()) {
	if m__isOn(number) {
		faulty()
	} else {
		right()
	}
}

func m__isOn(number int) bool {
	if m__file != "" {
		m__note(number)
	}
	return number == m__on
}

// m__note writes at once, because a test may kill the process.
func m__note(number int) {
	if _, seen := m__seen.LoadOrStore(number, true); seen {
		return
	}
	file, err := m__os.OpenFile(m__file, m__os.O_APPEND|m__os.O_CREATE|m__os.O_WRONLY, 0o600)
	if err == nil {
		_, _ = file.WriteString(m__strconv.Itoa(number) + "\n")
		_ = file.Close()
	}
}
`

// numbered returns the name of a text in a list, and adds it if it is new.
func numbered(prefix string, list *[]string, text string) string {
	at := slices.Index(*list, text)
	if at < 0 {
		at = len(*list)
		*list = append(*list, text)
	}
	return fmt.Sprint(prefix, at)
}
