package netloop

// Side says which of the two passes of an iteration serves a connection.
type Side uint8

// The sides of a proxy.
const (
	Downstream Side = iota
	Upstream
)

// Driver is a protocol's state machine for one connection. All methods run on
// the loop's goroutine and must not block.
type Driver interface {
	// Data shows the unread input: what an earlier call left, followed by what
	// arrived since. It returns how many bytes it is done with; the loop keeps
	// the rest and shows it again when more has arrived. b is valid during the
	// call only. Data is not called while the connection is paused or while a
	// bulk announced by [Conn.ReadBulk] is being delivered.
	Data(c *Conn, b []byte) int

	// Drained is called when buffered output has fallen below the low-water
	// mark after it had been above the high-water mark.
	Drained(c *Conn)

	// EOF says that the peer has finished sending. Data is not called again,
	// output may still be written. A driver that has nothing left to say
	// closes.
	EOF(c *Conn)

	// Closed is the last call. err is nil after [Conn.Close] by the driver
	// itself and otherwise says why: a failed connect, a reset, a TLS error.
	Closed(c *Conn, err error)
}

// BulkDriver is a Driver that takes large payloads as owned chunks, without a
// copy. A driver that calls [Conn.ReadBulk] must implement it.
type BulkDriver interface {
	Driver
	// Bulk delivers the next piece of an announced payload. The driver owns p
	// and either passes it on with [Conn.WriteChunk] or releases it with
	// [Loop.Free]. left is what is still to come; after the piece with left 0
	// Data is called again.
	Bulk(c *Conn, p *Chunk, left int64)
}

// ConnectDriver is a Driver that wants to know when a dialled connection is
// established, TLS included, and when [Conn.StartTLS] has done its work.
type ConnectDriver interface {
	Driver
	Connected(c *Conn)
}
