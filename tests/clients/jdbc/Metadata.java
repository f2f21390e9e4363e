// pgjdbc's DatabaseMetaData and what drivers of BI tools do, against Thalweg.
//
// Needs the objects of ../catalog.sql. Prints "ok"; anything else is an error.
// Usage: java -cp postgresql.jar Metadata.java PORT

import java.math.BigDecimal;
import java.sql.*;
import java.time.*;
import java.util.*;

public class Metadata {
    /** The values of a column, in order. */
    static List<String> column(ResultSet rows, String name) throws SQLException {
        List<String> values = new ArrayList<>();
        while (rows.next()) values.add(rows.getString(name));
        return values;
    }

    static void same(Object found, Object wanted) {
        if (!Objects.equals(found, wanted)) throw new AssertionError(found + " instead of " + wanted);
    }

    static void holds(boolean condition, Object shown) {
        if (!condition) throw new AssertionError(shown);
    }

    static void metadata(Connection connection) throws SQLException {
        DatabaseMetaData about = connection.getMetaData();
        same(about.getDatabaseMajorVersion(), 16);
        String[] kinds = {"TABLE", "VIEW", "MATERIALIZED VIEW"};
        same(column(about.getTables(null, "public", "%", kinds), "TABLE_NAME"), List.of("totals", "customers", "orders", "order_names"));
        same(column(about.getTables(null, "public", "customers", null), "REMARKS"), List.of("who buys"));
        same(column(about.getColumns(null, "public", "orders", "%"), "COLUMN_NAME"), List.of("id", "line", "customer", "amount", "at"));
        same(column(about.getColumns(null, "public", "customers", "email"), "REMARKS"), List.of("may be null"));
        same(column(about.getColumns(null, "public", "customers", "%"), "TYPE_NAME"),
            List.of("int4", "varchar", "text", "numeric", "date", "timestamptz", "bool", "_text"));
        same(column(about.getPrimaryKeys(null, "public", "orders"), "COLUMN_NAME"), List.of("id", "line"));
        same(column(about.getPrimaryKeys(null, "public", "orders"), "KEY_SEQ"), List.of("1", "2"));
        same(column(about.getIndexInfo(null, "public", "orders", false, true), "COLUMN_NAME"), List.of("id", "line", "customer"));
        same(column(about.getIndexInfo(null, "public", "customers", true, true), "INDEX_NAME"), List.of("customers_email_key", "customers_pkey"));
        List<String> types = column(about.getTypeInfo(), "TYPE_NAME");
        holds(types.containsAll(List.of("bool", "int4", "int8", "numeric", "timestamptz", "interval")), types);
        holds(column(about.getSchemas(), "TABLE_SCHEM").containsAll(List.of("information_schema", "pg_catalog", "public")), "schemas");
        same(column(about.getCatalogs(), "TABLE_CAT"), List.of("thalweg"));
        holds(column(about.getFunctions(null, null, "abs"), "FUNCTION_NAME").size() > 3, "abs");
        holds(column(about.getFunctionColumns(null, null, "abs", "%"), "COLUMN_NAME").size() > 3, "abs");
        same(column(about.getProcedures(null, null, "nosuch"), "PROCEDURE_NAME"), List.of());
        same(column(about.getImportedKeys(null, "public", "orders"), "FK_NAME"), List.of());
        same(column(about.getExportedKeys(null, "public", "orders"), "FK_NAME"), List.of());
        same(column(about.getCrossReference(null, "public", "orders", null, "public", "customers"), "FK_NAME"), List.of());
        same(column(about.getBestRowIdentifier(null, "public", "orders", 0, true), "COLUMN_NAME"), List.of("id", "line"));
        about.getVersionColumns(null, "public", "orders");
        about.getTablePrivileges(null, "public", "orders");
        about.getColumnPrivileges(null, "public", "orders", "%");
        about.getUDTs(null, null, "%", null);
        about.getSQLKeywords();
        ResultSetMetaData columns = connection.createStatement().executeQuery("SELECT id, name, balance FROM customers").getMetaData();
        same(columns.getColumnTypeName(3), "numeric");
        same(columns.getPrecision(2), 40);
    }

    static void changes(Connection connection) throws SQLException {
        PreparedStatement insert = connection.prepareStatement("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", new String[] {"id", "amount"});
        for (int n = 0; n < 20; n++) {
            insert.setLong(1, 100 + n);
            insert.setInt(2, 1);
            insert.setInt(3, 1);
            insert.setBigDecimal(4, new BigDecimal("1.50"));
            insert.setTimestamp(5, Timestamp.valueOf("2020-01-02 03:04:05.678"));
            insert.addBatch();
        }
        insert.executeBatch();
        same(column(insert.getGeneratedKeys(), "amount"), Collections.nCopies(20, "1.50"));
        PreparedStatement update = connection.prepareStatement("UPDATE customers SET at = ?, born = ?, email = ? WHERE id = 2");
        update.setObject(1, OffsetDateTime.parse("2020-01-01T00:00:00+02:00"));
        update.setObject(2, LocalDate.of(2020, 1, 1));
        update.setNull(3, Types.VARCHAR);
        same(update.executeUpdate(), 1);
        ResultSet changed = connection.createStatement().executeQuery("SELECT at, born FROM customers WHERE id = 2");
        changed.next();
        same(changed.getObject(1, OffsetDateTime.class).toInstant(), Instant.parse("2019-12-31T22:00:00Z"));
        connection.createStatement().execute("UPDATE customers SET at = NULL, born = NULL WHERE id = 2");
        connection.createStatement().execute("DELETE FROM orders WHERE id >= 100");
        PreparedStatement nulls = connection.prepareStatement("SELECT ?::int, coalesce(?, 1), ?::timestamptz");
        nulls.setNull(1, Types.INTEGER);
        nulls.setNull(2, Types.INTEGER);
        nulls.setNull(3, Types.OTHER);
        same(column(nulls.executeQuery(), "coalesce"), List.of("1"));
    }

    /** After five executions the driver prepares on the server and asks for binary results. */
    static void binary(Connection connection) throws SQLException {
        PreparedStatement one = connection.prepareStatement(
            "SELECT id, name, balance, born, at, ok, tags, 1.5::float8 AS f, 2::smallint AS s, interval '1 day 2 hours' AS i FROM customers WHERE id = ?");
        String first = null;
        for (int round = 0; round < 10; round++) {
            one.setInt(1, 1);
            ResultSet row = one.executeQuery();
            row.next();
            String shown = row.getInt("id") + row.getString("name") + row.getBigDecimal("balance") + row.getDate("born")
                + row.getTimestamp("at") + row.getObject("at", OffsetDateTime.class) + row.getBoolean("ok") + Arrays.toString((Object[]) row.getArray("tags").getArray())
                + row.getDouble("f") + row.getInt("s") + row.getObject("i");
            if (first == null) first = shown;
            same(shown, first);
        }
    }

    static void cursors(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        Statement some = connection.createStatement();
        some.setFetchSize(1000);
        ResultSet rows = some.executeQuery("SELECT g FROM generate_series(1, 100000) g");
        int seen = 0;
        while (rows.next()) seen++;
        same(seen, 100000);
        connection.commit();
        connection.setAutoCommit(true);
    }

    static void cancelled(Connection connection) throws Exception {
        Statement long_one = connection.createStatement();
        Thread killer = new Thread(() -> {
            try {
                Thread.sleep(300);
                long_one.cancel();
            } catch (Exception error) {
                throw new RuntimeException(error);
            }
        });
        killer.start();
        try {
            long_one.executeQuery("SELECT count(*) FROM generate_series(1, 20000000000) g");
            throw new AssertionError("it was not cancelled");
        } catch (SQLException error) {
            same(error.getSQLState(), "57014");
        }
        killer.join();
    }

    public static void main(String[] args) throws Exception {
        TimeZone.setDefault(TimeZone.getTimeZone("GMT-08:00"));
        try (Connection connection = DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + args[0] + "/thalweg?user=tester")) {
            // The driver sends the zone as POSIX spells it.
            same(column(connection.createStatement().executeQuery("SHOW TimeZone"), "TimeZone"), List.of("GMT+08:00"));
            metadata(connection);
            changes(connection);
            binary(connection);
            cursors(connection);
            cancelled(connection);
            connection.setReadOnly(true);
            connection.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
            same(connection.getSchema(), "public");
            holds(connection.isValid(2), "valid");
        }
        System.out.println("ok");
    }
}
