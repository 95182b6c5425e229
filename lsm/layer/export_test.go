package layer

// Reseal gives data that was changed on purpose good checksums, as far as its
// header, footer and blocks can be found, so that what lies behind them is tested.
func Reseal(data []byte) {
	if len(data) < headerSize+footerSize {
		return
	}
	copy(data, magic)
	le.PutUint32(data[identitySize:], Checksum(data[:identitySize]))
	seed := Checksum(data[:identitySize])
	end := len(data) - footerSize
	foot := data[end:]
	copy(foot[footerSum+4:], footerMagic)
	le.PutUint32(foot[footerSum:], sumAt(seed, int64(end), foot[:footerSum]))
	for at := headerSize; at+blockHeader <= end; {
		size := blockHeader + int(le.Uint32(data[at+4:]))
		if size > end-at {
			return
		}
		sealBlock(data[at:at+size], seed, int64(at))
		at += size
	}
}

// Held is the bytes that the cursor has in memory of blocks.
func (c *Cursor) Held() int { return cap(c.stored.data) + cap(c.memory) + cap(c.past) }

// CursorBytes is about how much a cursor reads at a time.
const CursorBytes = cursorBytes

// CheckFilterBlock makes a filter block of a size and checks it as a reader does.
func CheckFilterBlock(size int) error {
	id := ID{Kind: Delta, LSNHi: 1}
	block := appendBlock(nil, typeFilter, make([]byte, size), false)
	sealBlock(block, id.seed(), headerSize)
	return checkBlock("layer", id.seed(), headerSize, block, typeFilter)
}
