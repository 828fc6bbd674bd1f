// Package election lets the pods of an app choose one of them, by a Lease of
// Kubernetes.
//
// # What a leader may rely on
//
// A candidate claims to lead only until its last renewal, counted from before it
// was sent, has nearly run out by its own clock. Others take over only after they
// have seen no renewal for the whole time by theirs. So two never claim at once, also
// if one of them was frozen or cut off from the API server, as long as clocks run
// at the same speed within a tenth: what time they show does not count.
//
// What a leader has begun before it was frozen it may go on with afterwards. That
// is what the fencing token is for, which rises with every term: who stores or
// does something for a leader takes the token along and refuses a lower one than
// it has seen.
//
// A process that comes back under the name of the holder waits like the others:
// it cannot know that the former one is gone.
package election
