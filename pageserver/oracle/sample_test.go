package oracle_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/pageserver/oracle"
	"github.com/varvedb/varve/wal/pgwal"
)

// sampler keeps, for every page of every kind of record, the changes with the least and
// the most to say.
type sampler struct {
	least, most map[sampled]change
}

// sampled is a page of a kind of record; init tells pages that start from nothing.
type sampled struct {
	rmgr pgwal.RMgr
	name string
	id   uint8
}

type change struct {
	fork                 pgwal.Fork
	block                uint32
	before, delta, after []byte
}

func (s *sampler) made(c *oracle.Comparison, after []byte) {
	k := sampled{c.Kind.RMgr, c.Kind.Name, c.Ref}
	keep := func(in map[sampled]change) {
		in[k] = change{c.Fork, c.Block, bytes.Clone(c.Before), bytes.Clone(c.Delta), bytes.Clone(after)}
	}
	if least, ok := s.least[k]; !ok || len(c.Delta) < len(least.delta) {
		keep(s.least)
	}
	if most, ok := s.most[k]; !ok || len(c.Delta) > len(most.delta) {
		keep(s.most)
	}
}

// write puts the samples where the tests of package redo read them; the format is drawn
// there.
func (s *sampler) write(t *testing.T, path string) {
	var file bytes.Buffer
	packed := gzip.NewWriter(&file)
	for _, m := range []map[sampled]change{s.least, s.most} {
		for k, c := range m {
			head := append([]byte{byte(len(k.name))}, k.name...)
			head = append(head, byte(k.rmgr), k.id, byte(c.fork))
			head = binary.LittleEndian.AppendUint32(head, c.block)
			head = binary.LittleEndian.AppendUint32(head, uint32(len(c.delta)))
			for _, b := range [][]byte{head, c.before, c.delta, c.after} {
				_, err := packed.Write(b)
				require.NoError(t, err)
			}
		}
	}
	require.NoError(t, packed.Close())
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, file.Bytes(), 0o644))
}
