package osenv

import (
	"os"

	"github.com/varvedb/varve/wal/env"
)

// HoldSync has hold called, with a file's size, before a Put makes it durable.
func HoldSync(b env.Bucket, hold func(size int64)) {
	b.(*bucket).sync = func(f *os.File) error {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		hold(info.Size())
		return f.Sync()
	}
}

// FailSync has every Put fail before it is durable.
func FailSync(b env.Bucket, why error) {
	b.(*bucket).sync = func(*os.File) error { return why }
}
