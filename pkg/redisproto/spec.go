package redisproto

// Flags are what COMMAND prints about a command.
type Flags uint64

// The flags of commands, named as in COMMAND's reply.
const (
	Write           Flags = 1 << iota // write
	ReadOnly                          // readonly
	DenyOOM                           // denyoom
	Module                            // module
	Admin                             // admin
	PubSub                            // pubsub
	NoScript                          // noscript
	Blocking                          // blocking
	Loading                           // loading
	Stale                             // stale
	SkipMonitor                       // skip_monitor
	SkipSlowlog                       // skip_slowlog
	Asking                            // asking
	Fast                              // fast
	NoAuth                            // no_auth
	MayReplicate                      // may_replicate
	NoMandatoryKeys                   // no_mandatory_keys
	NoAsyncLoading                    // no_async_loading
	NoMulti                           // no_multi
	MovableKeys                       // movablekeys
	AllowBusy                         // allow_busy
	ScriptRunner                      // script_runner
)

// KeyFlags say what a command does with the keys of one KeySpec.
type KeyFlags uint16

// The flags of key specifications, named as in COMMAND's reply.
const (
	KeyRO            KeyFlags = 1 << iota // RO: reads the value
	KeyRW                                 // RW: changes it, depending on it
	KeyOW                                 // OW: overwrites it
	KeyRM                                 // RM: removes it
	KeyAccess                             // access: returns data of it
	KeyInsert                             // insert
	KeyUpdate                             // update
	KeyDelete                             // delete
	KeyNotKey                             // not_key: routed like a key, but none
	KeyIncomplete                         // incomplete: does not find all keys
	KeyVariableFlags                      // variable_flags
)

// BeginSearch is how a KeySpec finds the argument where it begins.
type BeginSearch uint8

// The ways to begin.
const (
	BeginUnknown BeginSearch = iota
	BeginIndex
	BeginKeyword
)

// FindKeys is how a KeySpec finds its keys from where it begins.
type FindKeys uint8

// The ways to find keys.
const (
	FindUnknown FindKeys = iota
	FindRange
	FindKeynum
)

// KeySpec is one rule that finds keys in a request, as redis.io describes them.
type KeySpec struct {
	Flags KeyFlags
	Begin BeginSearch
	Find  FindKeys
	// Pos is the argument to begin at, or where to begin the search for
	// Keyword: backwards if negative.
	Pos     int16
	Keyword string
	// Last, Step and Limit for FindRange: the last key relative to the first,
	// negative from the end of the request; the distance of keys; how much of
	// the rest of the request is used if Last is -1 (half of it for 2).
	// NumKeys, First and Step for FindKeynum: the argument with the number of
	// keys and the first key, relative to the beginning.
	Last, Step, Limit int16
	NumKeys, First    int16
}

// Spec is what is known of a command.
type Spec struct {
	// Name is in lower case; a subcommand's has its container's before it, as
	// in "config|get".
	Name string
	// Arity is the number of arguments, the name included, or at least -Arity
	// if negative.
	Arity int
	Flags Flags
	// FirstKey, LastKey and Step are the old way to tell the keys; LastKey may
	// count from the end. All 0: no keys, or only KeySpecs tell them.
	FirstKey, LastKey, Step int
	KeySpecs                []KeySpec
	// RequestPolicy and ResponsePolicy are the command's tips for a proxy, such
	// as "all_shards" and "agg_sum"; empty if it has none.
	RequestPolicy, ResponsePolicy string
	// Since is the version that has introduced the command.
	Since string
	// Group is the command's chapter in the documentation, such as "hash".
	Group string
	// Categories are its ACL categories without the @.
	Categories []string
	// Sub are the subcommands of a container command.
	Sub []*Spec
}
