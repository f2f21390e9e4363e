//! The views of the case (issue 2), with the query that answers each from the rows themselves.

/// The columns of the events, as CREATE SOURCE declares them.
pub const COLUMNS: &str = "event_time timestamptz, event_type text, product_id bigint, category_id bigint, \
     category_code text, brand text, price numeric(10,2), user_id bigint, user_session text";

/// Name and SELECT of each view over `events`.
pub const VIEWS: [(&str, &str); 4] = [
    ("event_type_counts", "SELECT event_type, count(*) AS events FROM events GROUP BY event_type"),
    (
        "brand_funnel",
        "SELECT brand,
           count(DISTINCT user_id) FILTER (WHERE event_type='view') AS viewers,
           count(DISTINCT user_id) FILTER (WHERE event_type='cart') AS carters,
           count(DISTINCT user_id) FILTER (WHERE event_type='purchase') AS buyers,
           count(*) FILTER (WHERE event_type='purchase') AS purchases,
           sum(price) FILTER (WHERE event_type='purchase') AS revenue
         FROM events GROUP BY brand",
    ),
    (
        "brand_shares",
        "SELECT brand, count(*) AS users,
           round(100.0 * count(*) FILTER (WHERE v AND NOT c AND NOT p) / count(*), 2) AS pct_only_viewed,
           round(100.0 * count(*) FILTER (WHERE c AND NOT p) / count(*), 2) AS pct_carted_not_bought,
           round(100.0 * count(*) FILTER (WHERE p) / count(*), 2) AS pct_bought
         FROM (SELECT brand, user_id, bool_or(event_type='view') v, bool_or(event_type='cart') c,
                 bool_or(event_type='purchase') p
               FROM events GROUP BY 1, 2) u GROUP BY brand",
    ),
    (
        "events_per_minute",
        "SELECT date_trunc('minute', event_time) AS minute, event_type, count(*) AS events
         FROM events GROUP BY 1, 2",
    ),
];

/// `CREATE MATERIALIZED VIEW ...` of a view.
pub fn create(view: &str) -> String {
    format!("CREATE MATERIALIZED VIEW IF NOT EXISTS {view} AS {}", select(view, "events"))
}

/// A view's SELECT over another relation than `events`.
pub fn select(view: &str, from: &str) -> String {
    let found = VIEWS.iter().find(|(name, _)| *name == view).expect("one of the views");
    found.1.replace("FROM events ", &format!("FROM {from} "))
}

/// A view over a view: its input's rows change and go.
pub const TOP_BRANDS: &str = "CREATE MATERIALIZED VIEW IF NOT EXISTS funnel_sizes AS \
     SELECT viewers, count(*) AS brands, sum(revenue) AS revenue FROM brand_funnel GROUP BY viewers";
