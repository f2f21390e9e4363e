import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.Statement;

/**
 * pgjdbc against Thalweg: a result far larger than the heap, a thousand rows at a time. Give Java a
 * small heap (-Xmx24m): without pieces it runs out of it. Prints "ok N", N being the rows that came.
 * Usage: Stream PORT ROWS
 */
public final class Stream {
    public static void main(String[] args) throws Exception {
        long wanted = Long.parseLong(args[1]);
        String url = "jdbc:postgresql://127.0.0.1:" + args[0] + "/thalweg?user=tester";
        long count = 0;
        long sum = 0;
        long begin = System.nanoTime();
        try (Connection connection = DriverManager.getConnection(url)) {
            connection.setAutoCommit(false);
            try (Statement statement = connection.createStatement()) {
                statement.setFetchSize(1000);
                String query = "SELECT n, 'the row with the number ' || n AS t, n * 0.01 AS d"
                        + " FROM generate_series(1, " + wanted + ") g(n)";
                try (ResultSet rows = statement.executeQuery(query)) {
                    while (rows.next()) {
                        count++;
                        sum += rows.getLong(1);
                        if (!rows.getString(2).endsWith(" number " + rows.getLong(1))) {
                            throw new AssertionError("row " + rows.getLong(1) + " is " + rows.getString(2));
                        }
                    }
                }
            }
            connection.commit();
        }
        if (count != wanted || sum != wanted * (wanted + 1) / 2) {
            throw new AssertionError(count + " rows, sum " + sum);
        }
        Runtime heap = Runtime.getRuntime();
        System.out.println((heap.maxMemory() >> 20) + " MiB of heap at most, "
                + (System.nanoTime() - begin) / 1_000_000 + " ms");
        System.out.println("ok " + count);
    }
}
