//! Queries about the catalog, as psql, drivers and tools ask them.
//!
//! They are run by DataFusion over [`CatalogTables`], after `datafusion-pg-catalog`'s rewriting and
//! ours, because they use constructs (`OPERATOR(pg_catalog.~)`, `regclass`, `ARRAY(SELECT ...)`)
//! that no view needs. Known limit: a correlated subquery in their SELECT list gives null; for what
//! the catalogs hold here (no defaults, no collations) that is the answer. They see no user's rows.

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use arrow::util::display::array_value_to_string;
use async_trait::async_trait;
use datafusion::catalog::{
    CatalogProvider, MemoryCatalogProvider, MemoryCatalogProviderList, SchemaProvider, TableProvider,
};
use datafusion::common::{Column, ParamValues, SchemaError};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::{SendableRecordBatchStream, SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{Expr, Query, Select, SelectItem, SetExpr, Statement, visit_expressions};
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use futures::StreamExt;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::types::PgType;

use super::information::{Relation, THALWEG_OID};
use super::{functions, information, pg_catalog, rewrite};
use crate::catalog::Rule;
use crate::database::{DATABASE, Published};
use crate::parser::ObjectKind;
use crate::planner::output_name;
use crate::statement::create_source::columns_of;
use crate::statement::resolve::{folded, relations_of};

/// What the catalog tables are made from.
#[derive(Debug)]
pub(crate) struct CatalogTables {
    /// The catalog.
    pub(crate) published: Arc<Published>,
    /// Who asks, and owns everything.
    pub(crate) user: String,
    /// All settings: name, value, what it does.
    pub(crate) settings: Vec<(String, String, &'static str)>,
    /// The tables of schema `thalweg`.
    pub(crate) thalweg: Vec<(&'static str, SchemaRef)>,
}

impl CatalogTables {
    /// Users' objects, then the tables of schema `thalweg`.
    pub(crate) fn relations(&self) -> Vec<Relation> {
        let objects = self.published.catalog.objects().map(|object| Relation {
            oid: i32::try_from(object.oid).unwrap_or(i32::MAX),
            schema: object.schema.clone(),
            name: object.name.clone(),
            columns: object.columns.clone(),
            kind: match object.kind() {
                ObjectKind::View => "m",
                ObjectKind::NamedQuery => "v",
                ObjectKind::Source | ObjectKind::Table => "r",
            },
            checks: object.table().map_or(0, |table| {
                let checks = table.constraints.iter().filter(|one| matches!(one.rule, Rule::Check(_))).count();
                i16::try_from(checks).unwrap_or(i16::MAX)
            }),
            indexed: object.table().is_some_and(|table| {
                !table.indexes.is_empty() || table.constraints.iter().any(|one| matches!(one.rule, Rule::Unique { .. }))
            }),
        });
        let system = (THALWEG_OID..).zip(&self.thalweg).map(|(oid, (name, schema))| Relation {
            oid,
            schema: "thalweg".into(),
            name: (*name).into(),
            columns: columns_of(schema),
            kind: "r",
            checks: 0,
            indexed: false,
        });
        objects.chain(system).collect()
    }
}

/// Whether a query is about the catalog alone.
pub(crate) fn asks_catalog(query: &Query, published: &Published, path: &[String]) -> bool {
    let relations = relations_of(query);
    let of_catalog = |schema: &Option<String>, name: &str| match schema.as_deref() {
        Some("pg_catalog" | "information_schema") => true,
        Some(_) => false,
        None => name.starts_with("pg_") && published.catalog.find(None, name, path).is_none(),
    };
    if relations.iter().any(|(schema, name)| of_catalog(schema, name)) {
        return true;
    }
    // A function of the catalog in a query that reads nothing of ours.
    let ours = |schema: &Option<String>, name: &str| {
        schema.as_deref() == Some("thalweg") || published.catalog.find(schema.as_deref(), name, path).is_some()
    };
    if relations.iter().any(|(schema, name)| ours(schema, name)) {
        return false;
    }
    visit_expressions(query, |expr| match expr {
        Expr::Function(function) => match folded(&function.name) {
            Some((None | Some(_), name)) if functions::is_catalog_function(&name) => ControlFlow::Break(()),
            Some((Some(schema), _)) if schema == "pg_catalog" => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        },
        Expr::Cast { data_type, .. } if data_type.to_string().to_lowercase().contains("reg") => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

/// A planned catalog query.
pub(crate) struct CatalogQuery {
    context: SessionContext,
    plan: LogicalPlan,
    /// The types of `$1`, `$2`, ...
    pub(crate) parameters: Vec<PgType>,
    /// The columns.
    pub(crate) schema: SchemaRef,
}

impl CatalogQuery {
    /// Plans a query; `types` are those the client declared for its parameters.
    pub(crate) async fn plan(tables: CatalogTables, query: &Query, types: &[Option<PgType>]) -> Result<CatalogQuery> {
        let names = output_names(query);
        let statement = rewritten(query)?;
        let context = context(tables)?;
        let plan =
            context.state().statement_to_plan(DfStatement::Statement(Box::new(statement))).await.map_err(spoken)?;
        let parameters = parameter_types(&plan, types)?;
        let schema = output_schema(&plan, names);
        Ok(CatalogQuery { context, plan, parameters, schema })
    }

    /// Runs it.
    pub(crate) async fn run(self, values: &[ScalarValue]) -> Result<SendableRecordBatchStream> {
        let plan = if values.is_empty() {
            self.plan
        } else {
            self.plan.with_param_values(ParamValues::from(values.to_vec())).map_err(spoken)?
        };
        let rows =
            self.context.execute_logical_plan(plan).await.map_err(spoken)?.execute_stream().await.map_err(spoken)?;
        let schema = self.schema.clone();
        let shaped = rows.map(move |batch| shape(&batch?, &schema));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema, shaped)))
    }
}

/// DataFusion's errors about names and constructs, in PostgreSQL's classes.
fn spoken(error: DataFusionError) -> Error {
    let ours = Error::from_datafusion(&error);
    if ours.state() != SqlState::InternalError {
        return ours;
    }
    let text = error.strip_backtrace();
    match error.find_root() {
        DataFusionError::SchemaError(reason, _) => {
            if let SchemaError::FieldNotFound { field, .. } = reason.as_ref() {
                return Error::new(SqlState::UndefinedColumn, no_column(field));
            }
        }
        DataFusionError::Plan(text) => {
            let quoted = text.split('\'').nth(1).unwrap_or_default();
            if text.starts_with("table ") && text.contains("not found") {
                let name = quoted.strip_prefix(DATABASE).and_then(|name| name.strip_prefix('.')).unwrap_or(quoted);
                return Error::new(SqlState::UndefinedTable, format!("relation \"{name}\" does not exist"));
            }
            if text.starts_with("Invalid function") || text.starts_with("table function") {
                return Error::new(SqlState::UndefinedFunction, format!("function {quoted} does not exist"));
            }
        }
        _ => {}
    }
    let line = text.lines().find(|line| line.starts_with("Error during planning: ")).map(str::to_string);
    Error::unsupported("this query about the catalog").detail(line.unwrap_or(text))
}

fn no_column(field: &Column) -> String {
    match &field.relation {
        Some(table) => format!("column {}.{} does not exist", table.table(), field.name),
        None => format!("column \"{}\" does not exist", field.name),
    }
}

fn rewritten(query: &Query) -> Result<Statement> {
    static PARSER: OnceLock<PostgresCompatibilityParser> = OnceLock::new();
    let parser = PARSER.get_or_init(PostgresCompatibilityParser::new);
    let mut query = query.clone();
    rewrite::with_column_defaults(&mut query);
    rewrite::without_empty_tables(&mut query);
    let parsed =
        parser.parse(&query.to_string()).map_err(|error| Error::new(SqlState::SyntaxError, error.to_string()))?;
    let mut statement = parsed.into_iter().next().ok_or_else(|| Error::internal("a query became nothing"))?;
    rewrite::for_datafusion(&mut statement);
    Ok(statement)
}

fn context(tables: CatalogTables) -> Result<SessionContext> {
    static BASE: OnceLock<std::result::Result<SessionState, String>> = OnceLock::new();
    let base = BASE.get_or_init(base).as_ref().map_err(|text| Error::internal(text.clone()))?;
    let tables = Arc::new(tables);
    let functions = functions::all(&tables);
    let catalog = MemoryCatalogProvider::new();
    for schema in ["pg_catalog", "information_schema"] {
        catalog.register_schema(schema, Arc::new(CatalogSchema { tables: tables.clone(), schema }))?;
    }
    let state = SessionStateBuilder::new_from_existing(base.clone())
        .with_catalog_list(Arc::new(MemoryCatalogProviderList::new()))
        .build();
    let context = SessionContext::new_with_state(state);
    context.register_catalog(DATABASE, Arc::new(catalog));
    for function in functions {
        context.register_udf(function);
    }
    Ok(context)
}

/// The functions and planners of `datafusion-pg-catalog`, set up once.
fn base() -> std::result::Result<SessionState, String> {
    let mut config =
        SessionConfig::new().with_default_catalog_and_schema(DATABASE, "pg_catalog").with_target_partitions(1);
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    let context = SessionContext::new_with_config(config);
    datafusion_pg_catalog::setup_pg_catalog(&context, DATABASE, EmptyContextProvider)
        .map_err(|error| error.to_string())?;
    Ok(context.state())
}

/// A schema whose tables are made when asked for.
#[derive(Debug)]
struct CatalogSchema {
    tables: Arc<CatalogTables>,
    schema: &'static str,
}

impl CatalogSchema {
    fn find(&self, name: &str) -> Option<Result<Arc<dyn TableProvider>>> {
        match self.schema {
            "pg_catalog" => pg_catalog::table(&self.tables, name),
            _ => information::table(&self.tables, name),
        }
    }
}

#[async_trait]
impl SchemaProvider for CatalogSchema {
    fn table_names(&self) -> Vec<String> {
        Vec::new()
    }

    async fn table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        self.find(name).transpose().map_err(Error::into_datafusion)
    }

    fn table_exist(&self, name: &str) -> bool {
        self.find(name).is_some()
    }
}

fn parameter_types(plan: &LogicalPlan, declared: &[Option<PgType>]) -> Result<Vec<PgType>> {
    let inferred = plan.get_parameter_types().map_err(spoken)?;
    let number = |name: &String| name.trim_start_matches('$').parse::<usize>().unwrap_or(0);
    let count = inferred.keys().map(number).max().unwrap_or(0).max(declared.len());
    let of = |place: usize| match declared.get(place) {
        Some(Some(known)) => known.clone(),
        _ => match inferred.get(&format!("${}", place + 1)) {
            Some(Some(layout)) => PgType::of_arrow(layout),
            Some(None) | None => PgType::Text,
        },
    };
    Ok((0..count).map(of).collect())
}

fn output_schema(plan: &LogicalPlan, names: Option<Vec<String>>) -> SchemaRef {
    let fields = plan.schema().fields();
    let names = names.filter(|names| names.len() == fields.len());
    let field = |(place, field): (usize, &Arc<Field>)| {
        let name = names.as_ref().map_or_else(|| field.name().clone(), |names| names[place].clone());
        match field.data_type() {
            DataType::Null | DataType::List(_) | DataType::LargeList(_) => PgType::Text.field(name, true),
            layout => PgType::of_arrow(layout).field(name, true),
        }
    };
    Arc::new(Schema::new(fields.iter().enumerate().map(field).collect::<Fields>()))
}

/// The rows in the layout that the schema promises.
fn shape(batch: &RecordBatch, schema: &SchemaRef) -> DataFusionResult<RecordBatch> {
    let column = |(column, field): (&ArrayRef, &Arc<Field>)| match column.data_type() {
        DataType::List(_) => array_text(column),
        layout if layout == field.data_type() => Ok(column.clone()),
        _ => Ok(cast(column, field.data_type())?),
    };
    let columns = batch.columns().iter().zip(schema.fields()).map(column).collect::<DataFusionResult<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

/// Arrays as PostgreSQL prints them: `{a,b}`.
fn array_text(column: &ArrayRef) -> DataFusionResult<ArrayRef> {
    let lists = column.as_list::<i32>();
    let mut texts: Vec<Option<String>> = Vec::with_capacity(lists.len());
    for row in 0..lists.len() {
        if lists.is_null(row) {
            texts.push(None);
            continue;
        }
        let elements = lists.value(row);
        let mut parts = Vec::with_capacity(elements.len());
        for place in 0..elements.len() {
            parts.push(if elements.is_null(place) {
                "NULL".into()
            } else {
                element_text(&array_value_to_string(&elements, place)?)
            });
        }
        texts.push(Some(format!("{{{}}}", parts.join(","))));
    }
    Ok(Arc::new(StringArray::from(texts)))
}

fn element_text(text: &str) -> String {
    let plain = !text.is_empty()
        && !text.eq_ignore_ascii_case("null")
        && !text.contains(|character: char| "{}\",\\".contains(character) || character.is_whitespace());
    if plain { text.into() } else { format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")) }
}

/// The names that PostgreSQL gives the columns; `None` if `*` is among them.
fn output_names(query: &Query) -> Option<Vec<String>> {
    fn first_select(body: &SetExpr) -> Option<&Select> {
        match body {
            SetExpr::Select(select) => Some(select),
            SetExpr::SetOperation { left, .. } => first_select(left),
            SetExpr::Query(query) => first_select(&query.body),
            _ => None,
        }
    }
    let item = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) => Some(output_name(expr)),
        SelectItem::ExprWithAlias { alias, .. } if alias.quote_style.is_some() => Some(alias.value.clone()),
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.to_lowercase()),
        _ => None,
    };
    first_select(&query.body)?.projection.iter().map(item).collect()
}
