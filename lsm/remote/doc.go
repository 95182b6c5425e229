// Package remote is the store's side of the bucket: the names of its objects, the
// index object and how it is replaced, and layers read by range through files on
// the local disk.
//
// # Names
//
//	tenants/TENANT/timelines/PARENT/TIMELINE/index    PARENT is "root" for a root
//	tenants/TENANT/layers/TIMELINE/LAYER              LAYER is layer.ID.Name
//
// A timeline's children are found by listing one prefix, and so are a tenant's
// timelines and a timeline's layers.
//
// # The index object
//
// It changes only by [Index.Create] and [Index.Replace], which ask for the state
// that they expect. A PUT of unknown outcome is settled by reading back: writer
// and sequence in the body tell whether it was this one. If the object is still
// the one that was to be replaced, the same PUT is sent again; should the first
// arrive late after all, then one of the two fails its condition, and reading
// back shows that the other was ours. A creation alone is not sent again: a request of
// it that is late would bring a deleted timeline back.
//
// # Layer objects
//
// [PutLayer] is unconditional and is sent again under the same name with the same
// bytes until it succeeds, so an unknown outcome needs no settling: whichever
// arrives last writes what was there.
//
// # Local files
//
// [Files] keeps copies of ranges, one sparse file per layer, holes where nothing
// was read yet. It remembers nothing of what a file holds: a range is read, and if
// its checksums do not fit (a hole, a torn write, rot), it is fetched from the
// bucket and written again. So the directory may be wiped or damaged at any
// moment, nothing in it is ever synced, and its errors are only noted.
//
// Where the bucket is near ([env.Near]) there are no copies: objects are opened and read
// where they are. A range whose checksums do not fit is asked of the bucket all the same,
// for the object may have been replaced by a sound one since it was opened.
//
// The package keeps no list of what is in the bucket and decides of no layer that it is
// to be deleted.
package remote
