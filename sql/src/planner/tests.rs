//! Tests of binding and lowering over the sources and views of issue 2.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use thalweg_dataflow::plan::RelationId;
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::{Bound, Planner, Relation, Resolver, Settings, explain_view};

struct Names;

pub(crate) fn events() -> SchemaRef {
    let fields = [
        ("event_time", PgType::Timestamptz),
        ("event_type", PgType::Text),
        ("product_id", PgType::Int8),
        ("category_id", PgType::Int8),
        ("category_code", PgType::Text),
        ("brand", PgType::Text),
        ("price", PgType::Numeric(Some((10, 2)))),
        ("user_id", PgType::Int8),
        ("user_session", PgType::Text),
    ];
    Arc::new(Schema::new(fields.map(|(name, ty)| ty.field(name, true)).to_vec()))
}

impl Resolver for Names {
    fn relation(&self, _schema: Option<&str>, name: &str) -> Result<Option<Relation>> {
        Ok(match name {
            "events" => Some(Relation::View { id: RelationId(1), name: name.into(), schema: events() }),
            "brand_funnel" => {
                let fields = [
                    ("brand", PgType::Text),
                    ("viewers", PgType::Int8),
                    ("buyers", PgType::Int8),
                    ("revenue", PgType::Numeric(None)),
                ];
                let schema = Arc::new(Schema::new(fields.map(|(name, ty)| ty.field(name, true)).to_vec()));
                Some(Relation::View { id: RelationId(2), name: name.into(), schema })
            }
            _ => None,
        })
    }
}

fn bind(sql: &str, view: bool) -> Result<Bound> {
    let statements = Parser::parse_sql(&PostgreSqlDialect {}, sql)
        .map_err(|error| Error::new(SqlState::SyntaxError, error.to_string()))?;
    let Some(Statement::Query(query)) = statements.into_iter().next() else { panic!("no query: {sql}") };
    let settings = Settings { text: sql.to_string(), view, ..Settings::default() };
    Planner.bind(&query, &Names, &settings, &[])
}

fn lowered(sql: &str) -> String {
    let bound = bind(sql, true).expect(sql);
    let plan = Planner.lower(&bound).expect(sql);
    let name = |id: RelationId| if id.0 == 1 { "events".to_string() } else { "brand_funnel".to_string() };
    explain_view(&plan, &name, &|_| false).join("\n")
}

fn header(sql: &str) -> String {
    let bound = bind(sql, false).expect(sql);
    bound
        .schema
        .fields()
        .iter()
        .map(|field| format!("{} {}", field.name(), PgType::of(field).name()))
        .collect::<Vec<_>>()
        .join(", ")
}

fn error(sql: &str, view: bool) -> String {
    let error = match bind(sql, view) {
        Ok(bound) => Planner.lower(&bound).expect_err(sql),
        Err(error) => error,
    };
    format!("{} {}", error.state().code(), error.message())
}

#[test]
fn the_views_of_the_case_lower() {
    println!("{}", lowered("SELECT event_type, count(*) AS events FROM events GROUP BY event_type"));
    println!("{}", lowered(FUNNEL));
    println!("{}", lowered(SHARES));
}

const FUNNEL: &str = "SELECT brand,
  count(DISTINCT user_id) FILTER (WHERE event_type='view') AS viewers,
  count(DISTINCT user_id) FILTER (WHERE event_type='cart') AS carters,
  count(DISTINCT user_id) FILTER (WHERE event_type='purchase') AS buyers,
  count(*) FILTER (WHERE event_type='purchase') AS purchases,
  sum(price) FILTER (WHERE event_type='purchase') AS revenue
FROM events GROUP BY brand";

const SHARES: &str = "SELECT brand, count(*) AS users,
  round(100.0 * count(*) FILTER (WHERE v AND NOT c AND NOT p) / count(*), 2) AS pct_only_viewed,
  round(100.0 * count(*) FILTER (WHERE c AND NOT p) / count(*), 2) AS pct_carted_not_bought,
  round(100.0 * count(*) FILTER (WHERE p) / count(*), 2) AS pct_bought
FROM (SELECT brand, user_id, bool_or(event_type='view') v, bool_or(event_type='cart') c, bool_or(event_type='purchase') p
      FROM events GROUP BY 1, 2) u GROUP BY brand";

#[test]
fn output_columns_are_named_and_typed_as_in_postgresql() {
    println!(
        "{}",
        header(
            "SELECT brand, viewers, buyers, round(100.0*buyers/nullif(viewers,0),2) AS conversion FROM brand_funnel ORDER BY revenue DESC NULLS LAST LIMIT 10"
        )
    );
    println!(
        "{}",
        header(
            "SELECT count(*), sum(user_id), avg(price), 1+1, 'a', price::text, min(price), user_id = 1 from events group by price, user_id"
        )
    );
    println!(
        "{}",
        header(
            "SELECT floor(extract(epoch from event_time)/60)*60 AS \"time\", count(*) FROM events WHERE event_time BETWEEN '2019-11-01T00:00:00Z' AND '2019-11-01T06:00:00.123Z' GROUP BY 1 ORDER BY 1"
        )
    );
}

#[test]
fn errors_are_postgresqls() {
    for (sql, view) in [
        ("SELECT brnd FROM events", false),
        ("SELECT * FROM nothing", false),
        ("SELECT brand, count(*) FROM events", false),
        ("SELECT brand + 1 FROM events", false),
        ("SELECT lower(user_id) FROM events", false),
        ("SELECT brand FROM events LIMIT 3", true),
        ("SELECT now() FROM events", true),
        ("SELECT e.brand FROM events e JOIN events f ON e.brand = f.brand", true),
        ("SELECT user_id FROM events WHERE event_time > 'x'", false),
    ] {
        println!("{}", error(sql, view));
    }
}
