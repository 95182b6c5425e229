package redo_test

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/pageserver/redo"
	"github.com/varvedb/varve/wal/pgwal"
)

// The bytes of operations are in delta layers: they are what testdata says, for ever.
func TestGolden(t *testing.T) {
	golden, err := os.ReadFile("testdata/operations.txt")
	require.NoError(t, err)
	var now strings.Builder
	for _, o := range []struct {
		name  string
		bytes []byte
	}{
		{"generic", redo.AppendGeneric(nil, []byte{24, 0, 1, 0, 9})},
		{"vm clear", redo.AppendVMClear(nil, 0x01020304, pgwal.VMAllFrozen)},
		{"vm truncate", redo.AppendVMTruncate(nil, 0x01020304)},
		{"xact status", redo.AppendXactStatus(nil, redo.Aborted, []uint32{5, 0x01020304})},
		{"multi offset", redo.AppendMultiOffset(nil, 6, 0x01020304)},
		{"multi members", redo.AppendMultiMembers(nil, 7, []pgwal.MultiXactMember{{XID: 8, Status: 5}, {XID: 9}})},
		{"commit time", redo.AppendCommitTs(nil, 0x0102030405060708, 10, []uint32{11})},
		{"record", redo.AppendRecord(nil, &pgwal.Record{RMgr: pgwal.RMgrHeap, Info: pgwal.OpHeapUpdate, XID: 0x01020304, MainData: []byte("main"),
			Blocks: []pgwal.BlockRef{{ID: 0, Block: 5, WillInit: true}, {ID: 1, Block: 0x06070809}}}, &pgwal.BlockRef{ID: 1, Block: 0x06070809, Data: []byte("data")})},
		{"append", redo.AppendAppend(nil, []byte("tail"))},
	} {
		fmt.Fprintf(&now, "%s: %s\n", o.name, hex.EncodeToString(o.bytes))
	}
	require.Equal(t, string(golden), now.String())
}
