package mysqlproto

// Command is the first byte of what a client asks for.
type Command byte

// Commands. Those that clients never send are left out; a server answers them
// with an error.
const (
	ComQuit             Command = 0x01
	ComInitDB           Command = 0x02
	ComQuery            Command = 0x03
	ComFieldList        Command = 0x04
	ComCreateDB         Command = 0x05
	ComDropDB           Command = 0x06
	ComRefresh          Command = 0x07
	ComShutdown         Command = 0x08
	ComStatistics       Command = 0x09
	ComProcessInfo      Command = 0x0a
	ComProcessKill      Command = 0x0c
	ComDebug            Command = 0x0d
	ComPing             Command = 0x0e
	ComChangeUser       Command = 0x11
	ComBinlogDump       Command = 0x12
	ComTableDump        Command = 0x13
	ComRegisterReplica  Command = 0x15
	ComStmtPrepare      Command = 0x16
	ComStmtExecute      Command = 0x17
	ComStmtSendLongData Command = 0x18
	ComStmtClose        Command = 0x19
	ComStmtReset        Command = 0x1a
	ComSetOption        Command = 0x1b
	ComStmtFetch        Command = 0x1c
	ComBinlogDumpGTID   Command = 0x1e
	ComResetConnection  Command = 0x1f
	ComClone            Command = 0x20
	ComGroupReplication Command = 0x21
	ComStmtBulkExecute  Command = 0xfa // MariaDB's
)

// String returns the name that the protocol's documentation has.
func (c Command) String() string {
	if name := commandNames[c]; name != "" {
		return name
	}
	return "COM_UNKNOWN"
}

var commandNames = [256]string{
	ComQuit: "COM_QUIT", ComInitDB: "COM_INIT_DB", ComQuery: "COM_QUERY", ComFieldList: "COM_FIELD_LIST",
	ComCreateDB: "COM_CREATE_DB", ComDropDB: "COM_DROP_DB", ComRefresh: "COM_REFRESH", ComShutdown: "COM_SHUTDOWN",
	ComStatistics: "COM_STATISTICS", ComProcessInfo: "COM_PROCESS_INFO", ComProcessKill: "COM_PROCESS_KILL",
	ComDebug: "COM_DEBUG", ComPing: "COM_PING", ComChangeUser: "COM_CHANGE_USER", ComBinlogDump: "COM_BINLOG_DUMP",
	ComTableDump: "COM_TABLE_DUMP", ComRegisterReplica: "COM_REGISTER_SLAVE", ComStmtPrepare: "COM_STMT_PREPARE",
	ComStmtExecute: "COM_STMT_EXECUTE", ComStmtSendLongData: "COM_STMT_SEND_LONG_DATA", ComStmtClose: "COM_STMT_CLOSE",
	ComStmtReset: "COM_STMT_RESET", ComSetOption: "COM_SET_OPTION", ComStmtFetch: "COM_STMT_FETCH",
	ComBinlogDumpGTID: "COM_BINLOG_DUMP_GTID", ComResetConnection: "COM_RESET_CONNECTION", ComClone: "COM_CLONE",
	ComGroupReplication: "COM_SUBSCRIBE_GROUP_REPLICATION_STREAM", ComStmtBulkExecute: "COM_STMT_BULK_EXECUTE",
}

// Replication reports whether the command asks for a copy of the server's data
// or log, or enlists a replica.
func (c Command) Replication() bool {
	switch c {
	case ComBinlogDump, ComBinlogDumpGTID, ComTableDump, ComRegisterReplica, ComClone, ComGroupReplication:
		return true
	}
	return false
}

// responds reports whether the server answers the command at all.
func (c Command) responds() bool {
	switch c {
	case ComQuit, ComStmtSendLongData, ComStmtClose:
		return false
	}
	return true
}

// multiple reports whether the response may have several results.
func (c Command) multiple() bool {
	return c == ComQuery || c == ComStmtExecute || c == ComStmtBulkExecute
}
