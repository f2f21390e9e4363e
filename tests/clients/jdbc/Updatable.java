import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import org.postgresql.PGResultSetMetaData;

/**
 * pgjdbc against Thalweg: result sets that are changed in place, which pgjdbc allows where each column
 * is described with its table. Prints "ok". Usage: Updatable PORT
 */
public final class Updatable {
    public static void main(String[] args) throws Exception {
        String url = "jdbc:postgresql://127.0.0.1:" + args[0] + "/thalweg?user=tester";
        try (Connection connection = DriverManager.getConnection(url);
                Statement plain = connection.createStatement();
                Statement changing = connection.createStatement(
                        ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE)) {
            plain.execute("CREATE TABLE stock (item int PRIMARY KEY, label text, price numeric(10,2), note text)");
            plain.execute("INSERT INTO stock VALUES (1, 'one', 1.10, NULL), (2, 'two', 2.20, 'x'), (3, 'three', NULL, 'y')");
            try (ResultSet rows = changing.executeQuery("SELECT item, label, price, note FROM stock ORDER BY item")) {
                equal(ResultSet.CONCUR_UPDATABLE, rows.getConcurrency());
                rows.next();
                rows.updateString("label", "ONE");
                rows.updateBigDecimal("price", new java.math.BigDecimal("11.10"));
                rows.updateRow();
                equal("ONE", rows.getString("label"));
                rows.next();
                rows.updateNull("note");
                rows.updateRow();
                rows.next();
                rows.deleteRow();
                rows.moveToInsertRow();
                rows.updateInt("item", 4);
                rows.updateString("label", "four");
                rows.insertRow();
                rows.moveToCurrentRow();
            }
            equal("[1|ONE|11.10|null, 2|two|2.20|null, 4|four|null|null]", rows(plain, "SELECT * FROM stock ORDER BY item"));
            plain.execute("CREATE VIEW labels AS SELECT label AS name, item FROM stock");
            try (ResultSet rows = plain.executeQuery(
                    "SELECT s.label AS shown, s.item + 1, l.name, q.price, count(*) OVER ()"
                            + " FROM stock s JOIN labels l USING (item), (SELECT price FROM stock) q")) {
                PGResultSetMetaData columns = (PGResultSetMetaData) rows.getMetaData();
                List<String> bases = new ArrayList<>();
                for (int column = 1; column <= 5; column++) {
                    bases.add(columns.getBaseTableName(column) + "." + columns.getBaseColumnName(column));
                }
                equal("[stock.label, ., labels.name, stock.price, .]", bases.toString());
            }
            plain.execute("DROP VIEW labels");
            plain.execute("DROP TABLE stock");
        }
        System.out.println("ok");
    }

    private static String rows(Statement statement, String query) throws Exception {
        List<String> rows = new ArrayList<>();
        try (ResultSet result = statement.executeQuery(query)) {
            while (result.next()) {
                rows.add(result.getString(1) + "|" + result.getString(2) + "|" + result.getString(3) + "|"
                        + result.getString(4));
            }
        }
        return rows.toString();
    }

    private static void equal(Object expected, Object got) {
        if (!expected.equals(got)) {
            throw new AssertionError("expected " + expected + ", got " + got);
        }
    }
}
