package netloop

// forwardOwned is the size in bytes from which input is passed on by ownership.
const forwardOwned = 16 << 10

// Forward passes on what was read from one connection, and is shown to its driver
// at the moment, to another of the same loop. Who sends faster than the other
// takes is paused: its driver resumes it when the other is drained.
func Forward(from, to *Conn, b []byte) {
	switch {
	case len(b) == 0:
		return
	case len(b) >= forwardOwned:
		to.WriteChunk(from.Own(b))
	default:
		to.Write(b)
	}
	if to.Full() {
		from.Pause()
	}
}
