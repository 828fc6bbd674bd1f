package redistest

import (
	"fmt"
	"strconv"
	"strings"
)

// MoveStep names how far a slot has been moved.
type MoveStep int

// The steps of a slot's move, in their order.
const (
	// SlotImporting: the new owner accepts commands after ASKING.
	SlotImporting MoveStep = iota
	// SlotMigrating: the old owner answers -ASK for keys that it no longer has; all keys are still there.
	SlotMigrating
	// SlotEmptied: every key is at the new owner, yet the slot is still the old one's: everything is answered with -ASK.
	SlotEmptied
	// SlotAssigned: the new owner has the slot, the old one answers -MOVED, and every node knows.
	SlotAssigned
)

// MoveSlot moves a slot with its keys as redis-cli --cluster reshard does. After each step it calls hook, which may be nil.
func (c *RedisCluster) MoveSlot(slot int, from, to *Node, hook func(MoveStep)) {
	c.tb.Helper()
	if hook == nil {
		hook = func(MoveStep) {}
	}
	number := strconv.Itoa(slot)
	c.ok(to, "CLUSTER", "SETSLOT", number, "IMPORTING", from.id)
	hook(SlotImporting)
	c.ok(from, "CLUSTER", "SETSLOT", number, "MIGRATING", to.id)
	hook(SlotMigrating)
	for moved := 1; moved > 0; {
		moved = c.MoveKeys(slot, from, to, 100)
	}
	hook(SlotEmptied)
	// The new owner first: were it the old one, a client could be sent back and forth between the two.
	c.ok(to, "CLUSTER", "SETSLOT", number, "NODE", to.id)
	c.ok(from, "CLUSTER", "SETSLOT", number, "NODE", to.id)
	Eventually(c.tb, clusterLimit, "the slot's new owner to be known", func() error {
		return c.everyView(func(views map[string]nodeView) error {
			if !views[to.id].owns(slot) {
				return fmt.Errorf("slot %d is not known to be at %s", slot, to.Addr())
			}
			return nil
		})
	})
	hook(SlotAssigned)
}

// MoveKeys moves at most limit keys of a migrating slot and returns how many it moved. A hook of MoveSlot can split a slot's keys with it.
func (c *RedisCluster) MoveKeys(slot int, from, to *Node, limit int) int {
	c.tb.Helper()
	keys := bulks(from.Do("CLUSTER", "GETKEYSINSLOT", strconv.Itoa(slot), strconv.Itoa(limit)))
	if len(keys) == 0 {
		return 0
	}
	args := []string{"MIGRATE", "127.0.0.1", strconv.Itoa(to.port), "", "0", "10000"}
	switch auth := to.config.credentials(); len(auth) {
	case 1:
		args = append(args, "AUTH", auth[0])
	case 2:
		args = append(args, "AUTH2", auth[0], auth[1])
	}
	c.ok(from, append(append(args, "KEYS"), keys...)...)
	return len(keys)
}

// KeySlot returns the hash slot of a key: CRC16 (XMODEM) of its hash tag, or of all of it, modulo Slots.
func KeySlot(key string) int {
	if _, after, ok := strings.Cut(key, "{"); ok {
		if tag, _, closed := strings.Cut(after, "}"); closed && tag != "" {
			key = tag
		}
	}
	var crc uint16
	for i := range len(key) {
		crc ^= uint16(key[i]) << 8
		for range 8 {
			carry := crc&0x8000 != 0
			crc <<= 1
			if carry {
				crc ^= 0x1021
			}
		}
	}
	return int(crc) % Slots
}

// bulks returns the elements of a raw array of bulks.
func bulks(raw string) []string {
	header, rest, _ := strings.Cut(raw, "\r\n")
	count, err := strconv.Atoi(strings.TrimPrefix(header, "*"))
	if err != nil {
		return nil
	}
	elements := make([]string, 0, count)
	for range count {
		header, body, _ := strings.Cut(rest, "\r\n")
		length, err := strconv.Atoi(strings.TrimPrefix(header, "$"))
		if err != nil || length < 0 || len(body) < length+2 {
			return elements
		}
		elements = append(elements, body[:length])
		rest = body[length+2:]
	}
	return elements
}
