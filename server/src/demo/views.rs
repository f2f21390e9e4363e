//! What the demo creates: one source and three views, by the SQL that a user would type.

use futures::StreamExt;
use thalweg_dataflow::{Error, Result};
use thalweg_sql::database::Database;
use thalweg_sql::session::{Outcome, Prepared, Session, Startup};

use super::folder::Stream;

/// The topic of `demo --kafka`.
pub(crate) const TOPIC: &str = "ecomm_test";

const VIEWS: [&str; 3] = [
    "CREATE MATERIALIZED VIEW IF NOT EXISTS event_type_counts AS
       SELECT event_type, count(*) AS events FROM events GROUP BY event_type",
    "CREATE MATERIALIZED VIEW IF NOT EXISTS brand_funnel AS SELECT brand,
       count(DISTINCT user_id) FILTER (WHERE event_type='view') AS viewers,
       count(DISTINCT user_id) FILTER (WHERE event_type='cart') AS carters,
       count(DISTINCT user_id) FILTER (WHERE event_type='purchase') AS buyers,
       count(*) FILTER (WHERE event_type='purchase') AS purchases,
       sum(price) FILTER (WHERE event_type='purchase') AS revenue
     FROM events GROUP BY brand",
    "CREATE MATERIALIZED VIEW IF NOT EXISTS events_per_minute AS
       SELECT date_trunc('minute', event_time) AS minute, event_type, count(*) AS events
       FROM events GROUP BY 1, 2",
];

/// Three queries worth trying.
pub(crate) const QUERIES: [&str; 3] = [
    "SELECT * FROM event_type_counts ORDER BY events DESC;",
    "SELECT brand, viewers, buyers, round(100.0*buyers/nullif(viewers,0),2) AS conversion
  FROM brand_funnel ORDER BY revenue DESC NULLS LAST LIMIT 10;",
    "SELECT minute, sum(events) AS events FROM events_per_minute GROUP BY 1 ORDER BY 1 DESC LIMIT 5;",
];

/// Creates what is not there yet. A view is returned when it has met the stream.
pub(crate) async fn create(database: &Database, stream: &Stream) -> Result<()> {
    let startup =
        Startup { user: "demo".into(), database: "thalweg".into(), parameters: Vec::new(), role: None, client: None };
    let mut session = database.session(startup);
    let mut notices = session.take_notices();
    run(&mut session, &source(stream)).await?;
    for view in VIEWS {
        run(&mut session, view).await?;
    }
    // "already exists, skipping": what a demo that goes on expects.
    while notices.as_mut().is_some_and(|notices| notices.try_recv().is_ok()) {}
    Ok(())
}

fn source(stream: &Stream) -> String {
    match &stream.kafka {
        None => format!(
            "CREATE SOURCE IF NOT EXISTS events WITH (connector='generator', dataset='ecommerce', rate='{}')",
            quoted(&stream.rate)
        ),
        Some(broker) => format!(
            "CREATE SOURCE IF NOT EXISTS events (event_time timestamptz, event_type text, product_id bigint,
               category_id bigint, category_code text, brand text, price numeric(10,2), user_id bigint, user_session text)
             WITH (connector='kafka', topic='{TOPIC}', properties.bootstrap.server='{}', scan.startup.mode='earliest')
             FORMAT PLAIN ENCODE CSV (without_header='true', delimiter=',')",
            quoted(broker)
        ),
    }
}

fn quoted(text: &str) -> String {
    text.replace('\'', "''")
}

async fn run(session: &mut Session, text: &str) -> Result<()> {
    for statement in session.parse(text)? {
        let prepared = Prepared::plain(statement);
        if let Outcome::Rows { mut rows, .. } = session.execute(&prepared, Vec::new()).await? {
            while let Some(batch) = rows.next().await {
                batch.map_err(Error::from)?;
            }
        }
    }
    Ok(())
}
