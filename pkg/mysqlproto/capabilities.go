package mysqlproto

// Capabilities are what one side can do, and after the handshake what both have
// agreed on. The upper 32 bits are MariaDB's own.
type Capabilities uint64

// Capabilities that mean something for what the messages look like, or that a
// proxy has to decide upon.
const (
	// LongPassword is set by MySQL, clients and servers. A server that lacks it
	// is MariaDB, and has its own capabilities in the greeting's reserved bytes.
	LongPassword     Capabilities = 1 << 0
	FoundRows        Capabilities = 1 << 1
	LongFlag         Capabilities = 1 << 2
	ConnectWithDB    Capabilities = 1 << 3
	NoSchema         Capabilities = 1 << 4
	Compress         Capabilities = 1 << 5
	ODBC             Capabilities = 1 << 6
	LocalFiles       Capabilities = 1 << 7
	IgnoreSpace      Capabilities = 1 << 8
	Protocol41       Capabilities = 1 << 9
	Interactive      Capabilities = 1 << 10
	SSL              Capabilities = 1 << 11
	IgnoreSigpipe    Capabilities = 1 << 12
	Transactions     Capabilities = 1 << 13
	SecureConnection Capabilities = 1 << 15
	MultiStatements  Capabilities = 1 << 16
	MultiResults     Capabilities = 1 << 17
	PSMultiResults   Capabilities = 1 << 18
	PluginAuth       Capabilities = 1 << 19
	ConnectAttrs     Capabilities = 1 << 20
	// PluginAuthLenenc: the answer to the scramble may have more than 255 bytes.
	PluginAuthLenenc       Capabilities = 1 << 21
	ExpiredPasswords       Capabilities = 1 << 22
	SessionTrack           Capabilities = 1 << 23
	DeprecateEOF           Capabilities = 1 << 24
	OptionalMetadata       Capabilities = 1 << 25 // MySQL 8
	CompressZstd           Capabilities = 1 << 26 // MySQL 8.0.18
	QueryAttributes        Capabilities = 1 << 27 // MySQL 8.0.23
	MultiFactor            Capabilities = 1 << 28 // MySQL 8.0.27
	VerifyServerCert       Capabilities = 1 << 30
	RememberOptions        Capabilities = 1 << 31
	MariaDBProgress        Capabilities = 1 << 32
	MariaDBComMulti        Capabilities = 1 << 33
	MariaDBStmtBulk        Capabilities = 1 << 34
	MariaDBExtendedTypes   Capabilities = 1 << 35
	MariaDBCacheMetadata   Capabilities = 1 << 36
	MariaDBBulkUnitResults Capabilities = 1 << 37
)

// relayable are the capabilities that a proxy can leave to both sides, because
// they mean nothing to it or because it understands what they change. Not among
// them: compression, which would hide the messages; TLS, which each link has on
// its own; factors of authentication beyond the first; and what is not known.
const relayable = LongPassword | FoundRows | LongFlag | ConnectWithDB | NoSchema | ODBC | LocalFiles | IgnoreSpace |
	Protocol41 | Interactive | IgnoreSigpipe | Transactions | SecureConnection | MultiStatements | MultiResults |
	PSMultiResults | PluginAuth | ConnectAttrs | PluginAuthLenenc | ExpiredPasswords | SessionTrack | DeprecateEOF |
	OptionalMetadata | QueryAttributes | MariaDBProgress | MariaDBStmtBulk | MariaDBExtendedTypes | MariaDBCacheMetadata |
	MariaDBBulkUnitResults | 1<<14 // reserved: once PROTOCOL_41's second half

// Relayable returns what of c a proxy may pass on to the other side.
func (c Capabilities) Relayable() Capabilities { return c & relayable }

// Has reports whether all of want are there.
func (c Capabilities) Has(want Capabilities) bool { return c&want == want }

// Status is what the server tells of its state at the end of a response.
type Status uint16

// Status flags.
const (
	StatusInTransaction   Status = 1 << 0
	StatusAutocommit      Status = 1 << 1
	StatusMoreResults     Status = 1 << 3
	StatusNoGoodIndex     Status = 1 << 4
	StatusNoIndex         Status = 1 << 5
	StatusCursorExists    Status = 1 << 6
	StatusLastRowSent     Status = 1 << 7
	StatusDatabaseDropped Status = 1 << 8
	StatusNoBackslash     Status = 1 << 9
	StatusMetadataChanged Status = 1 << 10
	StatusSlow            Status = 1 << 11
	StatusPSOutParams     Status = 1 << 12
	StatusInReadOnlyTx    Status = 1 << 13
	StatusSessionChanged  Status = 1 << 14
	StatusANSIQuotes      Status = 1 << 15 // MariaDB
)
