package pgwal

// pglzDecompress unpacks PostgreSQL's own LZ format from src into dst and returns the
// number of bytes unpacked. ok means that src ended exactly where dst was full.
//
// The format is groups of a control byte and eight items, lowest bit first. A bit of 0
// is a literal byte. A bit of 1 is a copy of earlier output, in two bytes or three:
//
//	offset bits 8..11 | length - 3 (4 bits)    offset bits 0..7    [length - 18 if those 4 bits are 15]
func pglzDecompress(dst, src []byte) (n int, ok bool) {
	for len(src) > 0 && n < len(dst) {
		control := src[0]
		src = src[1:]
		for bit := 0; bit < 8 && len(src) > 0 && n < len(dst); bit++ {
			if control>>bit&1 == 0 {
				dst[n] = src[0]
				src, n = src[1:], n+1
				continue
			}
			var offset, length int
			offset, length, src, ok = pglzMatch(src)
			if !ok || offset == 0 || offset > n || length > len(dst)-n {
				return n, false
			}
			// The copy may overlap what it writes: it then repeats a pattern.
			for ; length > 0; length-- {
				dst[n] = dst[n-offset]
				n++
			}
		}
	}
	return n, len(src) == 0 && n == len(dst)
}

// pglzMatch reads a copy item at the start of src and returns what follows it.
func pglzMatch(src []byte) (offset, length int, rest []byte, ok bool) {
	const lengthMin, lengthShortMax = 3, 18
	if len(src) < 2 {
		return 0, 0, src, false
	}
	offset = int(src[0]&0xF0)<<4 | int(src[1])
	length = int(src[0]&0x0F) + lengthMin
	if length < lengthShortMax {
		return offset, length, src[2:], true
	}
	if len(src) < 3 {
		return 0, 0, src, false
	}
	return offset, length + int(src[2]), src[3:], true
}
