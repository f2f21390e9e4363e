import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;

/**
 * pgjdbc against Thalweg: every query of a file over the simple protocol, over the extended one
 * with text, with binary results, and in pieces of seven rows. Prints one line a query and, at the
 * end, "ok N"; ends with a stack trace when two forms differ. Usage: Client PORT QUERIES
 */
public final class Client {
    public static void main(String[] args) throws Exception {
        List<String> queries = new ArrayList<>();
        for (String line : Files.readAllLines(Path.of(args[1]))) {
            if (!line.isBlank()) {
                queries.add(line.strip().replaceAll(";$", ""));
            }
        }
        String url = "jdbc:postgresql://127.0.0.1:" + args[0] + "/thalweg?user=tester";
        try (Connection simple = DriverManager.getConnection(url + "&preferQueryMode=simple");
                Connection text = DriverManager.getConnection(url + "&binaryTransfer=false");
                Connection binary = DriverManager.getConnection(url + "&binaryTransfer=true&prepareThreshold=-1");
                Connection pieces = DriverManager.getConnection(url)) {
            pieces.setAutoCommit(false);
            for (String query : queries) {
                List<String> expected = rows(simple, query, 0);
                same(query, expected, rows(text, query, 0));
                same(query, expected, rows(binary, query, 0));
                same(query, expected, rows(pieces, query, 7));
                System.out.println(expected.size() + " rows: " + query.substring(0, Math.min(60, query.length())));
            }
            pieces.commit();
            parameters(text);
            parameters(binary);
            errors(text);
        }
        System.out.println("ok " + queries.size());
    }

    private static List<String> rows(Connection connection, String query, int fetchSize) throws SQLException {
        List<String> rows = new ArrayList<>();
        try (PreparedStatement statement = connection.prepareStatement(query)) {
            statement.setFetchSize(fetchSize);
            try (ResultSet result = statement.executeQuery()) {
                ResultSetMetaData columns = result.getMetaData();
                while (result.next()) {
                    StringBuilder row = new StringBuilder();
                    for (int column = 1; column <= columns.getColumnCount(); column++) {
                        row.append(columns.getColumnName(column)).append('=').append(result.getString(column)).append('|');
                    }
                    rows.add(row.toString());
                }
            }
        }
        return rows;
    }

    private static void parameters(Connection connection) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("SELECT events FROM event_type_counts WHERE event_type = ?")) {
            statement.setString(1, "view");
            try (ResultSet result = statement.executeQuery()) {
                if (!result.next() || result.getLong(1) <= 0) {
                    throw new AssertionError("no row for a parameter");
                }
            }
        }
        try (PreparedStatement statement = connection.prepareStatement("SELECT count(*) FROM brand_funnel WHERE viewers > ?")) {
            statement.setLong(1, 10);
            try (ResultSet result = statement.executeQuery()) {
                if (!result.next() || result.getLong(1) <= 0) {
                    throw new AssertionError("no row for a number as parameter");
                }
            }
        }
    }

    private static void errors(Connection connection) throws SQLException {
        try {
            rows(connection, "SELECT * FROM no_such_table", 0);
            throw new AssertionError("an unknown table was found");
        } catch (SQLException error) {
            if (!"42P01".equals(error.getSQLState())) {
                throw error;
            }
        }
        rows(connection, "SELECT 1", 0);
    }

    private static void same(String query, List<String> expected, List<String> got) {
        if (!expected.equals(got)) {
            throw new AssertionError(query + "\nexpected " + expected + "\ngot      " + got);
        }
    }
}
