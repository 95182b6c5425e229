package wal_test

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
)

func TestFieldsAreTakenInTheirOrder(t *testing.T) {
	src := []byte{7}
	src = binary.LittleEndian.AppendUint16(src, 8)
	src = binary.LittleEndian.AppendUint32(src, 9)
	src = binary.LittleEndian.AppendUint64(src, 10)
	src = append(binary.LittleEndian.AppendUint32(src, 2), 'a', 'b', 'c')
	f := wal.NewFields("note", src)
	require.Equal(t, uint8(7), f.Uint8("a"))
	require.Equal(t, uint16(8), f.Uint16("b"))
	require.Equal(t, uint32(9), f.Uint32("c"))
	require.Equal(t, wal.LSN(10), f.LSN("d"))
	require.Equal(t, 2, f.Count("e", 2, 1))
	require.Equal(t, []byte("ab"), f.Bytes("f", 2))
	var last [1]byte
	f.Into("g", last[:])
	require.Equal(t, "c", string(last[:]))
	require.NoError(t, f.Finish())
}

func TestFieldsThatAreNotThereAreCorruption(t *testing.T) {
	for name, take := range map[string]func(f *wal.Fields){
		"short":            func(f *wal.Fields) { f.Uint64("x") },
		"too many":         func(f *wal.Fields) { f.Count("x", 2, 0) },
		"not all here":     func(f *wal.Fields) { f.Count("x", 3, 1) },
		"something behind": func(*wal.Fields) {},
		"said so":          func(f *wal.Fields) { f.Bytes("x", 4); f.Fail("x", 1, 2) },
	} {
		f := wal.NewFields("note", []byte{3, 0, 0, 0})
		take(f)
		require.ErrorIs(t, f.Finish(), wal.ErrCorruption, name)
		require.ErrorContains(t, f.Finish(), "note", name)
		require.Zero(t, f.Uint8("y"), "zeros from then on")
		first := f.Err()
		f.Fail("z", 1, 2)
		require.Equal(t, first, f.Err(), "the first wrong is told")
	}
}
