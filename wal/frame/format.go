package frame

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
)

// A frame, little-endian:
//
//	 0        4      5         6      8            16             20        20+n   24+n
//	+--------+------+---------+------+------------+--------------+---------+------+
//	| length | type | version | zero | request id | header check | payload | check|
//	|  u32   |  u8  |   u8    | u16  |    u64     |     u32      |   n     | u32  |
//	+--------+------+---------+------+------------+--------------+---------+------+
//
// length is n, the payload's size. The header check is the CRC32C of the 16 bytes
// before it, so that a wrong length is noticed before anyone waits for the bytes
// that it promises. The last check is the CRC32C of everything before it.
const (
	headerSize  = 20
	trailerSize = 4
	version     = 1

	// Overhead is what a frame adds to its payload, in bytes.
	Overhead = headerSize + trailerSize

	// MaxPayload bounds a payload, in bytes. The largest message is an answer of
	// 1 MiB of log or a batch of a few hundred pages; 32 MiB leaves room for whole
	// start-state files, and is what one bad peer can make a reader hold.
	MaxPayload = 32 << 20
)

// Types that every service shares. Services number theirs from 1 upwards.
const (
	TypeHello uint8 = 0xFE // the first frame in either direction
	TypeError uint8 = 0xFF // the answer to a request that failed: a RemoteError
)

// streamName stands for the file in errors about bad bytes on a connection.
const streamName = "connection"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Frame is one message. ID is the request id, 0 where there is no request.
type Frame struct {
	Type    uint8
	ID      uint64
	Payload []byte

	// Sent, where a Handler set it, is called once the payload is no longer needed.
	Sent func()
}

// AppendTo appends the encoded frame to dst. The payload must not be larger than
// MaxPayload.
func (f *Frame) AppendTo(dst []byte) []byte {
	start := len(dst)
	return finish(append(appendHeader(dst, f.Type, f.ID), f.Payload...), start)
}

// appendHeader begins a frame whose payload is appended next; finish ends it.
func appendHeader(dst []byte, typ uint8, id uint64) []byte {
	dst = append(dst, 0, 0, 0, 0, typ, version, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, id)
	return append(dst, 0, 0, 0, 0)
}

// finish writes the length and both checks of the frame that begins at dst[start].
func finish(dst []byte, start int) []byte {
	size := len(dst) - start - headerSize
	if size > MaxPayload {
		assert.Failf("a payload of %d bytes is at most %d", size, MaxPayload)
	}
	binary.LittleEndian.PutUint32(dst[start:], uint32(size))
	binary.LittleEndian.PutUint32(dst[start+16:], crc32.Checksum(dst[start:start+16], castagnoli))
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// Decode reads the frame at the start of src. size is the number of bytes it
// takes; 0, with no error, means that src holds only a part of it. The payload
// points into src. offset is where src stands in the stream, for errors, which
// match wal.ErrCorruption, or name the version if that is unknown.
func Decode(src []byte, offset int64) (f Frame, size int, err error) {
	if len(src) < headerSize {
		return Frame{}, 0, nil
	}
	length, err := checkHeader(src, offset)
	if err != nil {
		return Frame{}, 0, err
	}
	if len(src) < headerSize+length+trailerSize {
		return Frame{}, 0, nil
	}
	body := src[:headerSize+length]
	want, got := binary.LittleEndian.Uint32(src[len(body):]), crc32.Checksum(body, castagnoli)
	if want != got {
		return Frame{}, 0, wal.Corruptf(streamName, offset, "frame checksum", want, got)
	}
	f = Frame{Type: src[4], ID: binary.LittleEndian.Uint64(src[8:]), Payload: body[headerSize:len(body):len(body)]}
	return f, len(body) + trailerSize, nil
}

// checkHeader returns the payload's length from a header of at least headerSize bytes.
func checkHeader(src []byte, offset int64) (length int, err error) {
	want, got := binary.LittleEndian.Uint32(src[16:]), crc32.Checksum(src[:16], castagnoli)
	if want != got {
		return 0, wal.Corruptf(streamName, offset, "frame header checksum", want, got)
	}
	if src[5] != version {
		return 0, fmt.Errorf("read frame: the peer speaks frame version %d, this program version %d", src[5], version)
	}
	if src[6] != 0 || src[7] != 0 {
		return 0, wal.Corruptf(streamName, offset+6, "reserved frame bytes", 0, src[6:8])
	}
	n := binary.LittleEndian.Uint32(src)
	if n > MaxPayload {
		return 0, wal.Corruptf(streamName, offset, "frame length", fmt.Sprintf("at most %d", MaxPayload), n)
	}
	return int(n), nil
}

// The payload of a hello:
//
//	 0       8         10                 11
//	+-------+---------+------------------+---------+
//	| magic | version | length of service| service |
//	|  u64  |   u16   |       u8         |         |
//	+-------+---------+------------------+---------+
//
// version is that of the service's messages. The answer repeats the hello, or is
// a frame of TypeError.
const (
	helloMagic     = 0x6F6C6C6568767276 // "vrvhello"
	helloSize      = 11
	protocolLatest = 1
)

type hello struct {
	version uint16
	service string
}

func (h *hello) AppendTo(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, helloMagic)
	dst = binary.LittleEndian.AppendUint16(dst, h.version)
	dst = append(dst, uint8(len(h.service)))
	return append(dst, h.service...)
}

func decodeHello(src []byte) (hello, error) {
	if len(src) < helloSize || binary.LittleEndian.Uint64(src) != helloMagic {
		return hello{}, wal.Corruptf(streamName, headerSize, "hello", "varve's magic", fmt.Sprintf("%d other bytes", len(src)))
	}
	if len(src) != helloSize+int(src[10]) {
		return hello{}, wal.Corruptf(streamName, headerSize+10, "hello length", helloSize+int(src[10]), len(src))
	}
	return hello{version: binary.LittleEndian.Uint16(src[8:]), service: string(src[helloSize:])}, nil
}

// The payload of an error is its code, u32, and then its text.
const errorSize = 4

// maxErrorText bounds the text of a RemoteError, in bytes.
const maxErrorText = 4096

// AppendTo appends the payload of a frame that carries the error; a text longer
// than 4 KiB is cut.
func (e *RemoteError) AppendTo(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(e.Code))
	return append(dst, e.Text[:min(len(e.Text), maxErrorText)]...)
}

func decodeError(src []byte) error {
	if len(src) < errorSize || len(src) > errorSize+maxErrorText {
		return wal.Corruptf(streamName, 0, "length of an error", fmt.Sprintf("%d to %d", errorSize, errorSize+maxErrorText), len(src))
	}
	return &RemoteError{Code: Code(binary.LittleEndian.Uint32(src)), Text: string(src[errorSize:])}
}
