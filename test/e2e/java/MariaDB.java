import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.sql.*;
import java.util.Arrays;
import java.util.concurrent.CompletableFuture;
import org.mariadb.jdbc.MariaDbPoolDataSource;

/** What an app with MariaDB's connector for Java does: java MariaDB.java HOST PORT GUARDED-PORT. Prints "all passed" at the end. */
public class MariaDB {
  static String server;
  static String guarded;

  interface Step {
    void run(Connection c) throws Exception;
  }

  public static void main(String[] args) throws Exception {
    server = "jdbc:mariadb://" + args[0] + ":" + args[1] + "/placeholder?user=app&password=none";
    guarded = "jdbc:mariadb://" + args[0] + ":" + args[2] + "/placeholder";
    try (Connection c = DriverManager.getConnection(server)) {
      c.createStatement().execute("create table java (n int auto_increment primary key, text text, bytes longblob)");
    }
    for (String options : new String[] {
      "", "&useServerPrepStmts=true", "&useServerPrepStmts=true&useBulkStmts=true", "&rewriteBatchedStatements=true", "&useBatchMultiSend=true&usePipelineAuth=true",
      "&useServerPrepStmts=true&useBatchMultiSend=true&useBulkStmts=false", "&useCompression=true", "&useCursorFetch=true&useServerPrepStmts=true&cachePrepStmts=false",
    }) {
      with(options, MariaDB::statements);
      with(options, MariaDB::batches);
      with(options, MariaDB::streams);
      with(options, MariaDB::transactions);
      with(options, MariaDB::timeouts);
    }
    with("", MariaDB::large);
    with("&useServerPrepStmts=true", MariaDB::large);
    with("&allowMultiQueries=true", MariaDB::several);
    with("&allowLocalInfile=true", MariaDB::files);
    with("", MariaDB::procedures);
    with("", MariaDB::catalogs);
    with("", MariaDB::cancels);
    pools();
    passwords();
    System.out.println("all passed");
  }

  static void with(String options, Step step) throws Exception {
    try (Connection c = DriverManager.getConnection(server + options)) {
      c.createStatement().execute("truncate java");
      step.run(c);
      same(1L, one(c, "select 1"));
    } catch (Throwable e) {
      throw new AssertionError("with " + options, e);
    }
  }

  static void statements(Connection c) throws Exception {
    try (PreparedStatement st = c.prepareStatement("insert into java (text, bytes) values (?, ?)", Statement.RETURN_GENERATED_KEYS)) {
      for (int i = 1; i <= 20; i++) {
        st.setString(1, "text " + i);
        st.setBytes(2, new byte[] {0, (byte) i});
        same(1, st.executeUpdate());
        ResultSet keys = st.getGeneratedKeys();
        keys.next();
        same(i, keys.getInt(1));
      }
    }
    try (PreparedStatement st = c.prepareStatement("select text, bytes from java where n = ?")) {
      for (int i = 1; i <= 20; i++) {
        st.setInt(1, i);
        ResultSet rows = st.executeQuery();
        rows.next();
        same("text " + i, rows.getString(1));
        same((byte) i, rows.getBytes(2)[1]);
      }
    }
    fails(1064, "42000", () -> c.createStatement().execute("selec 1"));
    fails(1064, "42000", () -> c.prepareStatement("selec 1").execute());
    fails(1062, "23000", () -> c.createStatement().execute("insert into java (n) values (1)"));
  }

  static void batches(Connection c) throws Exception {
    int[] done;
    try (PreparedStatement st = c.prepareStatement("insert into java (n, text) values (?, ?)")) {
      for (int i = 0; i < 3000; i++) {
        st.setInt(1, i + 1);
        st.setString(2, i % 7 == 0 ? null : "text " + i);
        st.addBatch();
      }
      done = st.executeBatch();
    }
    same(3000, done.length);
    same(3000L, one(c, "select count(*) from java"));
    same((3000L + 6) / 7, one(c, "select count(*) from java where text is null"));
    try (PreparedStatement st = c.prepareStatement("insert into java (n) values (?)")) {
      for (int n : new int[] {4001, 4002, 1, 4003}) {
        st.setInt(1, n);
        st.addBatch();
      }
      try {
        st.executeBatch();
        throw new AssertionError("a batch with a duplicate passed");
      } catch (BatchUpdateException e) {
        same(1062, e.getErrorCode());
      }
    }
    Statement st = c.createStatement();
    for (int i = 0; i < 100; i++) st.addBatch("update java set text = 'other " + i + "' where n = " + (i + 1));
    same(100, st.executeBatch().length);
    same("other 99", one(c, "select text from java where n = 100"));
  }

  /** Values above a packet's length in both directions. */
  static void large(Connection c) throws Exception {
    for (int size : new int[] {(1 << 24) - 1, 1 << 24, 20_000_000}) {
      byte[] want = new byte[size];
      Arrays.fill(want, (byte) 'x');
      want[size - 1] = 'y';
      try (PreparedStatement st = c.prepareStatement("insert into java (bytes) values (?)")) {
        st.setBinaryStream(1, new ByteArrayInputStream(want), size);
        st.executeUpdate();
      }
      try (PreparedStatement st = c.prepareStatement("select bytes from java order by n desc limit 1")) {
        ResultSet rows = st.executeQuery();
        rows.next();
        if (!Arrays.equals(want, rows.getBytes(1))) throw new AssertionError("another value of " + size);
      }
    }
  }

  static void streams(Connection c) throws Exception {
    try (PreparedStatement st = c.prepareStatement("select seq, repeat('x', 100) from seq_1_to_20000")) {
      st.setFetchSize(10);
      int n = 0;
      try (ResultSet rows = st.executeQuery()) {
        while (rows.next()) same(++n, rows.getInt(1));
      }
      same(20000, n);
      try (ResultSet rows = st.executeQuery()) {
        rows.next(); // and the rest is not read
      }
    }
    same(2L, one(c, "select 2"));
  }

  static void transactions(Connection c) throws Exception {
    c.setAutoCommit(false);
    c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
    c.createStatement().execute("insert into java (text) values ('a')");
    Savepoint here = c.setSavepoint("here");
    c.createStatement().execute("insert into java (text) values ('b')");
    c.rollback(here);
    c.commit();
    c.createStatement().execute("insert into java (text) values ('c')");
    c.rollback();
    c.setReadOnly(true);
    c.createStatement().execute("select 1");
    c.commit();
    c.setReadOnly(false);
    c.setAutoCommit(true);
    same(1L, one(c, "select count(*) from java"));
  }

  static void timeouts(Connection c) throws Exception {
    try (PreparedStatement st = c.prepareStatement("select sleep(?)")) {
      st.setQueryTimeout(1);
      st.setInt(1, 60);
      try {
        st.execute();
        throw new AssertionError("a query outlived its time");
      } catch (SQLTimeoutException e) {
        same(5, e.getSQLState().length());
      }
    }
    if (!c.isValid(5)) throw new AssertionError("not valid");
  }

  static void several(Connection c) throws Exception {
    Statement st = c.createStatement();
    same(true, st.execute("select 1; insert into java (text) values ('a'), ('b'); select n from java order by n"));
    same(true, !st.getMoreResults() && st.getUpdateCount() == 2);
    same(true, st.getMoreResults());
    ResultSet rows = st.getResultSet();
    rows.next();
    same(1, rows.getInt(1));
    same(true, !st.getMoreResults() && st.getUpdateCount() == -1);
    fails(1146, "42S02", () -> {
      st.execute("select 1; select * from nowhere");
      st.getMoreResults();
    });
  }

  static void files(Connection c) throws Exception {
    StringBuilder lines = new StringBuilder();
    for (int i = 1; i <= 200_000; i++) lines.append(i).append("\ttext ").append(i).append('\n');
    org.mariadb.jdbc.MariaDbStatement st = c.createStatement().unwrap(org.mariadb.jdbc.MariaDbStatement.class);
    st.setLocalInfileInputStream(new ByteArrayInputStream(lines.toString().getBytes(StandardCharsets.UTF_8)));
    same(200_000, st.executeUpdate("load data local infile 'java' into table java (n, text)"));
    same("text 200000", one(c, "select text from java where n = 200000"));
  }

  static void procedures(Connection c) throws Exception {
    c.createStatement().execute("create or replace procedure twice(in a int, out b int) begin select a; set b = 2 * a; select b; end");
    try (CallableStatement st = c.prepareCall("call twice(?, ?)")) {
      st.setInt(1, 21);
      st.registerOutParameter(2, Types.INTEGER);
      st.execute();
      same(42, st.getInt(2));
    }
  }

  /** Names of databases: the app's own for the environment's, and those that are there. */
  static void catalogs(Connection c) throws Exception {
    String own = (String) one(c, "select database()");
    c.setCatalog("information_schema");
    same("information_schema", one(c, "select database()"));
    c.setCatalog("shop");
    same(own, one(c, "select database()"));
    fails(1049, "42000", () -> c.setCatalog("nowhere"));
    same(true, c.getMetaData().getTables(null, null, "java", null).next());
  }

  static void cancels(Connection c) throws Exception {
    Statement st = c.createStatement();
    CompletableFuture<Integer> answer = CompletableFuture.supplyAsync(() -> {
      try {
        st.execute("select sleep(100)");
        return 0;
      } catch (SQLException e) {
        return e.getErrorCode();
      }
    });
    try (Connection other = DriverManager.getConnection(server)) {
      while (!"1".equals(one(other, "select cast(count(*) as char) from information_schema.processlist where info like 'select sleep(100)%'"))) Thread.sleep(10);
    }
    st.cancel();
    same(1317, answer.get());
    try (Connection victim = DriverManager.getConnection(server)) {
      Object id = one(victim, "select connection_id()");
      c.createStatement().execute("kill " + id);
      same(false, victim.isValid(5));
    }
    fails(1094, "HY000", () -> c.createStatement().execute("kill 4000000000"));
    Connection aborted = DriverManager.getConnection(server);
    aborted.abort(Runnable::run);
    same(true, aborted.isClosed());
  }

  /** The connector's own pool, which begins sessions anew (COM_RESET_CONNECTION) and looks whether they live (COM_PING). */
  static void pools() throws Exception {
    try (MariaDbPoolDataSource pool = new MariaDbPoolDataSource(server + "&maxPoolSize=2&useResetConnection=true&poolValidMinDelay=0")) {
      for (int i = 0; i < 50; i++) {
        try (Connection c = pool.getConnection()) {
          same(null, one(c, "select @left_behind"));
          c.createStatement().execute("set @left_behind = 1");
          c.createStatement().execute("create temporary table left_behind (n int)");
          c.setAutoCommit(i % 2 == 0);
          c.setReadOnly(i % 3 == 0);
          same((long) i, one(c, "select " + i));
        }
      }
    }
  }

  static void passwords() throws Exception {
    DriverManager.getConnection(guarded, "app", "right").close();
    fails(1045, "28000", () -> DriverManager.getConnection(guarded, "app", "wrong").close());
    fails(1045, "28000", () -> DriverManager.getConnection(guarded, "app", "").close());
    fails(1045, "28000", () -> DriverManager.getConnection(guarded, "other", "right").close());
  }

  static Object one(Connection c, String query) throws SQLException {
    try (Statement st = c.createStatement(); ResultSet rows = st.executeQuery(query)) {
      rows.next();
      Object v = rows.getObject(1);
      return v instanceof Integer ? Long.valueOf((Integer) v) : v;
    }
  }

  static void same(Object want, Object got) {
    if (want == null ? got != null : !want.equals(got)) throw new AssertionError("got " + got + ", want " + want);
  }

  interface Attempt {
    void run() throws SQLException;
  }

  static void fails(int code, String state, Attempt attempt) {
    try {
      attempt.run();
    } catch (SQLException e) {
      if (e.getErrorCode() != code || !state.equals(e.getSQLState())) throw new AssertionError("fails with " + e.getErrorCode() + " " + e.getSQLState() + ", want " + code, e);
      return;
    }
    throw new AssertionError("passed, want " + code);
  }
}
