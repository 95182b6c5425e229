package layer

import (
	"context"
	"fmt"
	"math"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/wal"
)

// Check verifies a whole layer file: header, every block and its checksum, the
// order and ranges of the entries, the footer. name names it in errors.
func Check(name string, data []byte, visit func(kv.Version) error) (Desc, error) {
	id, err := DecodeHeader(name, data)
	if err != nil {
		return Desc{}, err
	}
	if len(data) < headerSize+footerSize {
		return Desc{}, wal.Corruptf(name, headerSize, "layer size", fmt.Sprintf("at least %d", headerSize+footerSize), len(data))
	}
	end := int64(len(data) - footerSize)
	foot, err := decodeFooter(name, id.seed(), end, data[end:])
	if err != nil {
		return Desc{}, err
	}
	desc := Desc{ID: id, Size: int64(len(data)), CRC: Checksum(data),
		IndexOffset: foot.indexOffset, IndexSize: foot.indexSize, FilterSize: foot.filterSize, Versions: foot.versions, Keys: foot.keys}
	found, err := checkEntries(NewReader(desc, name, wholeFile(data), NewCache(0), NewCache(0)), visit)
	if err != nil {
		return Desc{}, err
	}
	if want := (footer{foot.indexOffset, foot.indexSize, foot.filterSize, found.blocks, found.versions, found.keys}); want != foot {
		return Desc{}, wal.Corruptf(name, end, "layer footer", fmt.Sprintf("%+v", want), fmt.Sprintf("%+v", foot))
	}
	if found.first != id.KeyLo || found.last.Key != id.KeyHi {
		return Desc{}, wal.Corruptf(name, 0, "key range", fmt.Sprintf("%v..%v", found.first, found.last.Key), fmt.Sprintf("%v..%v", id.KeyLo, id.KeyHi))
	}
	return desc, nil
}

type found struct {
	blocks         int
	versions, keys int64
	first          kv.Key
	last           kv.Version
}

func checkEntries(r *Reader, visit func(kv.Version) error) (f found, err error) {
	ctx := context.Background()
	index, filter, err := r.tail(ctx)
	if err != nil {
		return f, err
	}
	f.blocks = index.len()
	for i := range f.blocks {
		blocks, err := r.fetch(ctx, index, i, i)
		if err != nil {
			return f, err
		}
		off, _ := index.place(i)
		for c := blocks[0].cursor(); !c.done(); {
			begins := c.at == 0
			v := c.take()
			if begins {
				if err := f.checkBegin(r, off, index.key(i), index.since(i), v); err != nil {
					return f, err
				}
			}
			if !filter.mayHave(v.Key.Hash()) {
				return f, wal.Corruptf(r.name, r.filterOffset(), "key filter", fmt.Sprintf("one that lets %v through", v.Key), "one that does not")
			}
			if err := f.add(r, off, v); err != nil {
				return f, err
			}
			if err := visit(v); err != nil {
				return f, err
			}
		}
	}
	return f, nil
}

// checkBegin compares a block's first entry with what the index says of the block.
func (f *found) checkBegin(r *Reader, off int64, key kv.Key, since wal.LSN, v kv.Version) error {
	want := wal.LSN(0)
	if f.versions > 0 && f.last.Key == v.Key {
		want = v.LSN
	}
	if key != v.Key || since != want {
		return wal.Corruptf(r.name, off, "beginning of a block, by the index", fmt.Sprintf("%v since %v", v.Key, want), fmt.Sprintf("%v since %v", key, since))
	}
	return nil
}

func (f *found) add(r *Reader, off int64, v kv.Version) error {
	newKey := f.versions == 0 || v.Key != f.last.Key
	ok := v.LSN > r.desc.LSNLo && v.LSN <= r.desc.LSNHi
	if r.desc.Kind == Image {
		ok = v.LSN <= r.desc.LSNHi && v.Kind == kv.Image && newKey
	}
	if !ok || f.versions > 0 && f.last.Compare(v) >= 0 {
		return wal.Corruptf(r.name, off, "entry", "one that belongs here", fmt.Sprintf("%v of %v at %v", v.Kind, v.Key, v.LSN))
	}
	if f.versions == 0 {
		f.first = v.Key
	}
	if newKey {
		f.keys++
	}
	f.versions++
	f.last = kv.Version{Key: v.Key, LSN: v.LSN}
	return nil
}

// wholeFile is a layer file in memory.
type wholeFile []byte

// ReadRange implements [Source].
func (f wholeFile) ReadRange(_ context.Context, off int64, size int, sound func([]byte) error) ([]byte, error) {
	if off < 0 || size < 0 || size > math.MaxInt32 || off+int64(size) > int64(len(f)) {
		return nil, fmt.Errorf("read %d bytes at %d: the file has %d", size, off, len(f))
	}
	data := f[off : off+int64(size)]
	return data, sound(data)
}
