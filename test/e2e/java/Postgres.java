import java.io.InputStream;
import java.io.StringReader;
import java.io.StringWriter;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Properties;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyIn;
import org.postgresql.copy.CopyManager;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.largeobject.LargeObjectManager;

/** What an app with pgjdbc does: java -cp postgresql.jar Postgres.java HOST PORT PASSWORD. Prints "all passed" at the end. */
public final class Postgres {
  private static String url;
  private static String password;

  private interface Step {
    void run() throws Exception;
  }

  private static Connection connect(String... settings) throws SQLException {
    Properties p = new Properties();
    p.put("user", "app");
    p.put("password", password);
    p.put("sslmode", "disable");
    for (int i = 0; i < settings.length; i += 2) {
      p.put(settings[i], settings[i + 1]);
    }
    return DriverManager.getConnection(url, p);
  }

  private static void same(Object want, Object got) {
    if (!Objects.equals(want, got)) {
      throw new AssertionError("got " + got + ", want " + want);
    }
  }

  private static void fails(String state, Step step) throws Exception {
    try {
      step.run();
    } catch (SQLException e) {
      if (!state.equals(e.getSQLState())) {
        throw e;
      }
      return;
    }
    throw new AssertionError("there is no error " + state);
  }

  private static void exec(Connection c, String... texts) throws SQLException {
    try (Statement s = c.createStatement()) {
      for (String text : texts) {
        s.execute(text);
      }
    }
  }

  private static Object one(Connection c, String text, Object... params) throws SQLException {
    try (PreparedStatement s = c.prepareStatement(text)) {
      for (int i = 0; i < params.length; i++) {
        s.setObject(i + 1, params[i]);
      }
      try (ResultSet rows = s.executeQuery()) {
        return rows.next() ? rows.getObject(1) : null;
      }
    }
  }

  /** Statements become named ones of the server (S_1 and so on) when they are executed for the fifth time, or the first. */
  private static void prepared() throws Exception {
    for (String threshold : new String[] {"5", "1", "-1", "0"}) {
      try (Connection c = connect("prepareThreshold", threshold, "preparedStatementCacheQueries", "8")) {
        for (int round = 0; round < 20; round++) {
          for (int text = 0; text < 12; text++) { // more than are kept: the oldest are closed
            same(round + text, one(c, "select ?::int + " + text, round));
          }
        }
        OffsetDateTime at = OffsetDateTime.parse("2024-02-29T12:34:56.789+01:00");
        byte[] bytes = {0, 1, (byte) 255};
        try (PreparedStatement s = c.prepareStatement("select ?::text, ?::timestamptz, ?::bytea, ?::int[], ?::numeric, ?::float8, ?::bool, ?::uuid, ?::text")) {
          for (int i = 0; i < 12; i++) {
            s.setString(1, "Grüße " + i);
            s.setObject(2, at);
            s.setBytes(3, bytes);
            s.setArray(4, c.createArrayOf("int4", new Integer[] {1, null, i}));
            s.setBigDecimal(5, new java.math.BigDecimal("1.50"));
            s.setDouble(6, 0.25);
            s.setBoolean(7, true);
            s.setObject(8, new java.util.UUID(1, i));
            s.setNull(9, Types.VARCHAR);
            try (ResultSet r = s.executeQuery()) {
              r.next();
              same("Grüße " + i, r.getString(1));
              same(at.toInstant(), r.getObject(2, OffsetDateTime.class).toInstant());
              same(Arrays.toString(bytes), Arrays.toString(r.getBytes(3)));
              same("[1, null, " + i + "]", Arrays.toString((Object[]) r.getArray(4).getArray()));
              same("1.50", r.getBigDecimal(5).toString());
              same(0.25, r.getDouble(6));
              same(true, r.getBoolean(7));
              same(new java.util.UUID(1, i), r.getObject(8));
              same(null, r.getString(9));
            }
          }
        }
        String big = "x".repeat(8 << 20);
        same(big.length(), one(c, "select length(?)", big));
        same("int4", c.prepareStatement("select ?::int").getParameterMetaData().getParameterTypeName(1));
        same(2, c.prepareStatement("select 1 as a, 2 as b").getMetaData().getColumnCount());
      }
    }
    for (String mode : new String[] {"simple", "extendedForPrepared", "extended", "extendedCacheEverything"}) {
      try (Connection c = connect("preferQueryMode", mode, "prepareThreshold", "2")) {
        for (int i = 0; i < 8; i++) {
          same(i + 1, one(c, "select ?::int + 1", i));
          try (Statement s = c.createStatement()) {
            same(true, s.execute("select 7; select 8"));
            s.getResultSet().next();
            same(7, s.getResultSet().getInt(1));
            same(true, s.getMoreResults());
          }
        }
        fails("42601", () -> exec(c, "selec 1"));
        fails("22012", () -> one(c, "select 1 / ?::int", 0));
        same(3, one(c, "select ?::int", 3));
      }
    }
  }

  /** What a session says in SQL has the driver, too, forget its statements. */
  private static void forgotten() throws Exception {
    try (Connection c = connect("prepareThreshold", "1", "autosave", "conservative")) {
      exec(c, "create table changes (a int)", "insert into changes values (1)");
      for (String text : new String[] {"deallocate all", "discard all", "set search_path to public", "alter table changes add b text", "alter table changes alter a type text"}) {
        for (int i = 0; i < 3; i++) {
          same("1", String.valueOf(one(c, "select * from changes where ? = 1", 1)));
        }
        exec(c, text);
        same("1", String.valueOf(one(c, "select * from changes where ? = 1", 1)));
      }
      c.setAutoCommit(false);
      same("1", String.valueOf(one(c, "select * from changes where ? = 1", 1)));
      try (Connection other = connect()) {
        // waits for nobody: the transaction under way has to end before
        c.commit();
        exec(other, "alter table changes add c int");
      }
      same("1", String.valueOf(one(c, "select 1 where ? = 1", 1)));
      same("1", String.valueOf(one(c, "select * from changes where ? = 1", 1))); // tried again behind a savepoint
      c.commit();
      exec(c, "drop table changes");
      c.commit();
    }
  }

  private static void batches() throws Exception {
    for (String rewrite : new String[] {"false", "true"}) {
      try (Connection c = connect("reWriteBatchedInserts", rewrite, "prepareThreshold", "1")) {
        exec(c, "create table batches (id serial primary key, n int unique, text text)");
        for (boolean auto : new boolean[] {true, false}) {
          c.setAutoCommit(auto);
          try (PreparedStatement s = c.prepareStatement("insert into batches (n, text) values (?, ?)")) {
            for (int i = 0; i < 3000; i++) {
              s.setInt(1, i);
              s.setString(2, "text ".repeat(i % 50));
              s.addBatch();
            }
            same(3000, s.executeBatch().length);
          }
          if (!auto) {
            c.commit();
          }
          same(3000L, one(c, "select count(*) from batches"));
          try (PreparedStatement s = c.prepareStatement("insert into batches (n) values (?)", Statement.RETURN_GENERATED_KEYS)) {
            for (int i = 3000; i < 3500; i++) {
              s.setInt(1, i);
              s.addBatch();
            }
            s.executeBatch();
            int keys = 0;
            for (ResultSet r = s.getGeneratedKeys(); r.next(); ) {
              keys++;
            }
            same(500, keys);
            s.setInt(1, 4000);
            s.addBatch();
            s.setInt(1, 5); // is there
            s.addBatch();
            s.setInt(1, 4001);
            s.addBatch();
            try {
              s.executeBatch();
              throw new AssertionError("a batch with a duplicate succeeds");
            } catch (BatchUpdateException e) {
              same("23505", e.getSQLState());
            }
          }
          if (!auto) {
            fails("25P02", () -> one(c, "select 1"));
            c.rollback();
          }
          exec(c, "truncate batches");
          try (Statement s = c.createStatement()) {
            for (int i = 0; i < 100; i++) {
              s.addBatch("insert into batches (n) values (" + i + ")");
              s.addBatch("delete from batches where n = " + (i - 1));
            }
            same(200, s.executeBatch().length);
          }
          exec(c, "truncate batches");
          if (!auto) {
            c.commit();
          }
        }
        c.setAutoCommit(true);
        exec(c, "drop table batches");
      }
    }
  }

  /** Portals that are read from in turn, while other statements run; what outlives the transaction; transactions in which something fails. */
  private static void cursors() throws Exception {
    try (Connection c = connect("prepareThreshold", "1", "defaultRowFetchSize", "100")) {
      c.setAutoCommit(false);
      for (int round = 0; round < 3; round++) {
        try (PreparedStatement a = c.prepareStatement("select n, repeat('x', 100) from generate_series(1, ?) n");
            PreparedStatement b = c.prepareStatement("select n from generate_series(?, 1, -1) n")) {
          a.setInt(1, 2000);
          b.setInt(1, 2000);
          try (ResultSet up = a.executeQuery(); ResultSet down = b.executeQuery()) {
            for (int i = 1; i <= 2000; i++) {
              same(true, up.next() && down.next());
              same(i, up.getInt(1));
              same(2001 - i, down.getInt(1));
              if (i % 300 == 0) {
                same(i, one(c, "select ?::int", i));
              }
            }
            same(false, up.next());
          }
        }
        c.commit();
      }
      PreparedStatement s = c.prepareStatement("select n from generate_series(1, 1000) n");
      ResultSet open = s.executeQuery();
      open.next();
      c.commit();
      fails("34000", () -> { // the portal is gone
        while (open.next()) {
          open.getInt(1);
        }
      });
      c.rollback();
      s.close();
      try (Statement hold = c.createStatement(ResultSet.TYPE_FORWARD_ONLY, ResultSet.CONCUR_READ_ONLY, ResultSet.HOLD_CURSORS_OVER_COMMIT)) {
        ResultSet r = hold.executeQuery("select n from generate_series(1, 500) n");
        c.commit();
        int n = 0;
        while (r.next()) {
          n++;
        }
        same(500, n);
      }
      exec(c, "create table points (n int)");
      Savepoint point = c.setSavepoint("here");
      fails("22012", () -> one(c, "select 1 / ?::int", 0));
      c.rollback(point);
      exec(c, "insert into points values (1)");
      c.commit();
      same(1L, one(c, "select count(*) from points"));
      c.rollback();
      c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
      c.setReadOnly(true);
      same("serializable", one(c, "select current_setting('transaction_isolation')"));
      fails("25006", () -> exec(c, "insert into points values (2)"));
      c.rollback();
      c.setReadOnly(false);
      exec(c, "drop table points");
      c.commit();
    }
    try (Connection c = connect("autosave", "always", "prepareThreshold", "1")) {
      c.setAutoCommit(false);
      for (int i = 0; i < 5; i++) {
        fails("22012", () -> one(c, "select 1 / ?::int", 0));
        same(i, one(c, "select ?::int", i));
      }
      c.commit();
    }
  }

  /** Many connections at once, as an app's pool has them, with statements of the same texts and other settings. */
  private static void crowd() throws Exception {
    try (Connection c = connect()) {
      exec(c, "create table crowd (who int, n int, zone text)");
    }
    var pool = Executors.newFixedThreadPool(12);
    List<Future<?>> all = new ArrayList<>();
    for (int who = 0; who < 12; who++) {
      int me = who;
      all.add(pool.submit(() -> {
        String zone = me % 2 == 0 ? "Asia/Tokyo" : "Europe/Rome";
        try (Connection c = connect("prepareThreshold", "1", "ApplicationName", "crowd " + me)) {
          exec(c, "set time zone '" + zone + "'");
          for (int n = 0; n < 50; n++) {
            c.setAutoCommit(n % 2 == 0);
            try (PreparedStatement s = c.prepareStatement("insert into crowd values (?, ?, current_setting('timezone'))")) {
              for (int i = 0; i < 10; i++) {
                s.setInt(1, me);
                s.setInt(2, n);
                s.addBatch();
              }
              s.executeBatch();
            }
            if (n % 10 == 7) {
              fails("22012", () -> one(c, "select 1 / ?::int", 0));
              c.rollback();
            } else if (n % 2 == 1) {
              c.commit();
            }
            same("crowd " + me, one(c, "show application_name"));
            same(me * n, one(c, "select ?::int * ?::int", me, n));
          }
          c.setAutoCommit(true);
          same(450L, one(c, "select count(*) from crowd where who = ? and zone = ?", me, zone));
        }
        return null;
      }));
    }
    for (Future<?> f : all) {
      f.get();
    }
    pool.shutdown();
    try (Connection c = connect()) {
      exec(c, "drop table crowd");
    }
  }

  private static void copies() throws Exception {
    try (Connection c = connect()) {
      exec(c, "create table copies (n int, text text)");
      CopyManager copy = c.unwrap(PGConnection.class).getCopyAPI();
      StringBuilder text = new StringBuilder();
      for (int i = 0; i < 50_000; i++) {
        text.append(i).append("\ttext of ").append(i).append('\n');
      }
      same(50_000L, copy.copyIn("copy copies from stdin", new StringReader(text.toString()), 1000));
      StringWriter out = new StringWriter();
      same(50_000L, copy.copyOut("copy (select * from copies order by n) to stdout", out));
      same(text.toString(), out.toString());
      fails("22P02", () -> copy.copyIn("copy copies from stdin", new StringReader("x\ty\n".repeat(100_000))));
      CopyIn half = copy.copyIn("copy copies from stdin");
      half.writeToCopy("1\tone\n".getBytes(), 0, 6);
      half.cancelCopy();
      same(50_000L, one(c, "select count(*) from copies"));
      c.setAutoCommit(false);
      same(1L, copy.copyIn("copy copies from stdin", new StringReader("1\tone\n")));
      c.rollback();
      c.setAutoCommit(true);
      same(50_000L, one(c, "select count(*) from copies"));
      exec(c, "drop table copies");
    }
  }

  private static void cancelled() throws Exception {
    try (Connection c = connect(); Statement s = c.createStatement()) {
      for (int i = 0; i < 3; i++) {
        s.setQueryTimeout(1);
        fails("57014", () -> s.execute("select pg_sleep(60)"));
        s.setQueryTimeout(0);
        same(1, one(c, "select 1"));
      }
      var pool = Executors.newSingleThreadExecutor();
      var over = pool.submit(() -> {
        fails("57014", () -> s.execute("select pg_sleep(60), 'to be cancelled'"));
        return null;
      });
      try (Connection other = connect()) {
        while (!one(other, "select count(*) from pg_stat_activity where query like 'select pg_sleep(60), ''to be%' and state = 'active'").equals(1L)) {
          Thread.sleep(10);
        }
      }
      s.cancel();
      over.get();
      pool.shutdown();
      same(2, one(c, "select 2"));
      exec(c, "set statement_timeout to '2s'");
      fails("57014", () -> s.execute("select pg_sleep(60)"));
      same(3, one(c, "select 3"));
      same(true, c.isValid(10));
    }
  }

  private static void notified() throws Exception {
    try (Connection listener = connect(); Connection other = connect()) {
      exec(listener, "listen news");
      exec(other, "notify news, 'it works'");
      var got = listener.unwrap(PGConnection.class).getNotifications(30_000);
      same("it works", got[0].getParameter());
      try (Statement s = listener.createStatement()) {
        s.execute("do $$ begin raise notice 'look'; end $$");
        same("look", s.getWarnings().getMessage());
      }
    }
  }

  private static void settings() throws Exception {
    try (Connection c = connect("ApplicationName", "books", "options", "-c statement_timeout=12345 -c geqo=off", "currentSchema", "public")) {
      same("books", one(c, "show application_name"));
      same("12345ms", one(c, "show statement_timeout"));
      same("off", one(c, "show geqo"));
      same("public", one(c, "show search_path"));
      same(java.util.TimeZone.getDefault().getID(), one(c, "show timezone"));
      c.setClientInfo("ApplicationName", "more books");
      same("more books", one(c, "show application_name"));
      c.setSchema("pg_catalog");
      same("pg_catalog", c.getSchema());
      exec(c, "create temp table own (n int)", "insert into own values (1)");
      same(1, one(c, "select n from own"));
      exec(c, "set time zone 'Asia/Tokyo'", "set work_mem to '5MB'");
      same("Asia/Tokyo", one(c, "show timezone"));
      same("5MB", one(c, "show work_mem"));
      same("PostgreSQL", c.getMetaData().getDatabaseProductName());
      same(true, c.getMetaData().getTables(null, "pg_catalog", "pg_class", null).next());
    }
    try (Connection c = connect("targetServerType", "primary", "assumeMinServerVersion", "12")) {
      same(1, one(c, "select 1"));
    }
  }

  private static void largeObjects() throws Exception {
    try (Connection c = connect()) {
      c.setAutoCommit(false);
      LargeObjectManager all = c.unwrap(PGConnection.class).getLargeObjectAPI();
      long id = all.createLO();
      byte[] bytes = new byte[1 << 20];
      Arrays.fill(bytes, (byte) 7);
      try (LargeObject o = all.open(id, LargeObjectManager.WRITE)) {
        o.write(bytes);
      }
      c.commit();
      try (LargeObject o = all.open(id, LargeObjectManager.READ); InputStream in = o.getInputStream()) {
        same(true, Arrays.equals(bytes, in.readAllBytes()));
      }
      all.delete(id);
      c.commit();
    }
  }

  private static void refused() throws Exception {
    fails("28P01", () -> connect("password", "another"));
    fails("28P01", () -> connect("user", "another"));
    fails("08004", () -> connect("sslmode", "require")); // the listener has no certificate
    connect("sslmode", "prefer").close();
  }

  public static void main(String[] args) throws Exception {
    password = args[2];
    url = "jdbc:postgresql://" + args[0] + ":" + args[1] + "/placeholder";
    Step[] steps = {
      Postgres::prepared, Postgres::forgotten, Postgres::batches, Postgres::cursors, Postgres::crowd, Postgres::copies,
      Postgres::cancelled, Postgres::notified, Postgres::settings, Postgres::largeObjects, Postgres::refused,
    };
    for (Step step : steps) {
      step.run();
    }
    System.out.println("all passed");
  }
}
