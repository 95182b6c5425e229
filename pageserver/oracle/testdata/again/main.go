// Again redoes comparisons that were kept in the file that it is given, up to the first that
// does not hold, and prints a verdict. It is the program that is built with a bug in redo.
package main

import (
	"bufio"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/varvedb/varve/pageserver/oracle"
	"github.com/varvedb/varve/pageserver/pagediff"
)

// verdict is what came of the comparisons: mutants_test.go reads it.
type verdict struct {
	Records, Pages int
	Caught         bool   // by the last of them
	Says           string // what was wrong
	Field          string
}

func main() {
	v, err := redoAll(os.Args[1])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(v)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func redoAll(path string) (v verdict, err error) {
	file, err := os.Open(path)
	if err != nil {
		return v, err
	}
	defer file.Close()
	var last oracle.Comparison
	from, comparer := gob.NewDecoder(bufio.NewReader(file)), new(pagediff.Comparer)
	for !v.Caught {
		var c oracle.Comparison
		if err := from.Decode(&c); errors.Is(err, io.EOF) {
			return v, nil
		} else if err != nil {
			return v, err
		}
		if v.Pages == 0 || last.LSN != c.LSN {
			v.Records++
		}
		v.Pages++
		v.try(&c, comparer)
		last = c
	}
	return v, nil
}

// try makes one comparison. A panic, which a bug may lead to, is caught too.
func (v *verdict) try(c *oracle.Comparison, comparer *pagediff.Comparer) {
	defer func() {
		if p := recover(); p != nil {
			v.Caught, v.Field, v.Says = true, "panic", fmt.Sprint(p)
		}
	}()
	d, ok := c.Try(comparer)
	if ok {
		return
	}
	v.Caught, v.Says, v.Field = true, d.String(), d.Field
	if d.Offset < 0 {
		v.Field = "redo's own error"
	}
}
