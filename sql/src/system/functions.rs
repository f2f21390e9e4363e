//! The functions of `pg_catalog` that clients' catalog queries call.
//!
//! Each answers what is true of Thalweg: there is one owner, who may everything; there are no
//! comments and no triggers. Used by those queries only, never by views.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::scalar::ScalarValue;
use thalweg_dataflow::error::{Error, SqlState};

use super::constraints;
use super::queries::CatalogTables;
use crate::catalog::Object;
use crate::statement::definition::query_text;

/// Functions that make a query one about the catalog wherever they occur, and that are no null,
/// no privilege and no visibility: those are known by [`is_catalog_function`] too.
const OTHERS: &[&str] = &[
    "current_setting",
    "format_type",
    "pg_backend_pid",
    "pg_encoding_to_char",
    "pg_char_to_encoding",
    "pg_get_constraintdef",
    "pg_get_expr",
    "pg_get_indexdef",
    "pg_get_keywords",
    COLUMN_DEFAULT,
    "pg_get_userbyid",
    "pg_get_viewdef",
    "pg_is_in_recovery",
    "pg_relation_is_publishable",
    "pg_size_pretty",
    "quote_ident",
    "current_schemas",
    "to_regclass",
    "pg_postmaster_start_time",
];

/// What [`super::rewrite`] puts in the place of a subquery that reads a column's DEFAULT.
pub(super) const COLUMN_DEFAULT: &str = "thalweg_column_default";

/// Functions whose answer is null: there is nothing of the kind.
const NULLS: &[&str] = &[
    "col_description",
    "obj_description",
    "pg_get_function_arguments",
    "pg_get_function_identity_arguments",
    "pg_get_function_result",
    "pg_get_function_sqlbody",
    "pg_get_partkeydef",
    "pg_get_ruledef",
    "pg_get_serial_sequence",
    "pg_get_statisticsobjdef_columns",
    "pg_get_triggerdef",
    "pg_tablespace_location",
    "shobj_description",
    "inet_server_addr",
    "inet_client_addr",
];

/// Functions whose answer is true.
const TRUES: &[&str] = &[
    "has_any_column_privilege",
    "has_column_privilege",
    "has_database_privilege",
    "has_function_privilege",
    "has_schema_privilege",
    "has_sequence_privilege",
    "has_table_privilege",
    "has_type_privilege",
    "pg_function_is_visible",
    "pg_has_role",
    "pg_operator_is_visible",
    "pg_opclass_is_visible",
    "pg_collation_is_visible",
    "pg_conversion_is_visible",
    "pg_opfamily_is_visible",
    "pg_statistics_obj_is_visible",
    "pg_ts_config_is_visible",
    "pg_ts_dict_is_visible",
    "pg_ts_parser_is_visible",
    "pg_ts_template_is_visible",
    "pg_type_is_visible",
];

/// Functions whose answer is zero bytes: what a view holds is in `thalweg.materialized_views`.
const SIZES: &[&str] = &[
    "pg_database_size",
    "pg_indexes_size",
    "pg_relation_size",
    "pg_table_size",
    "pg_total_relation_size",
    "pg_tablespace_size",
];

/// Whether a function is one that only catalog queries call.
pub(crate) fn is_catalog_function(name: &str) -> bool {
    [OTHERS, NULLS, TRUES, SIZES].iter().any(|list| list.contains(&name)) || name == "pg_table_is_visible"
}

/// All functions, for one query.
pub(crate) fn all(tables: &CatalogTables) -> Vec<ScalarUDF> {
    let text = |value: &str| Answer::Text(Some(value.to_string()));
    let mut functions = vec![
        function("pg_get_userbyid", text(&tables.user)),
        function("session_user", text(&tables.user)),
        function("current_user", text(&tables.user)),
        function("current_database", text(crate::database::DATABASE)),
        function("current_schema", text(crate::catalog::PUBLIC)),
        function("version", text(crate::settings::VERSION)),
        function("pg_encoding_to_char", text("UTF8")),
        function("pg_char_to_encoding", Answer::Encoding),
        function("pg_relation_is_publishable", Answer::Bool(false)),
        function("pg_is_in_recovery", Answer::Bool(false)),
        function("pg_table_is_visible", Answer::Visible),
        function("pg_size_pretty", Answer::SizePretty),
        function("pg_get_viewdef", Answer::ByOid(view_definitions(tables))),
        function("pg_get_constraintdef", Answer::ByOid(constraints::constraint_definitions(tables))),
        function("pg_get_indexdef", Answer::ByOid(constraints::index_definitions(tables))),
        function("pg_get_expr", Answer::First),
        function(COLUMN_DEFAULT, Answer::Default(constraints::defaults(tables))),
        function("current_setting", Answer::Setting(settings(tables))),
    ];
    functions.extend(NULLS.iter().map(|name| function(name, Answer::Text(None))));
    functions.extend(TRUES.iter().map(|name| function(name, Answer::Bool(true))));
    functions.extend(SIZES.iter().map(|name| function(name, Answer::Zero)));
    functions
}

fn view_definitions(tables: &CatalogTables) -> BTreeMap<i32, String> {
    let catalog = &tables.published.catalog;
    let text = |object: &Object| Some(format!(" {};", query_text(catalog, object)?));
    catalog.objects().filter_map(|object| Some((i32::try_from(object.oid).ok()?, text(object)?))).collect()
}

fn settings(tables: &CatalogTables) -> BTreeMap<String, String> {
    tables.settings.iter().map(|(name, value, _)| (name.to_lowercase(), value.clone())).collect()
}

fn function(name: &str, answer: Answer) -> ScalarUDF {
    let signature = Signature::one_of(vec![TypeSignature::Nullary, TypeSignature::VariadicAny], Volatility::Stable);
    ScalarUDF::new_from_impl(CatalogFunction { name: name.into(), signature, answer })
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Answer {
    Text(Option<String>),
    Bool(bool),
    Zero,
    /// The number of UTF8.
    Encoding,
    /// Whether an oid is a relation of schema `public` or `pg_catalog`.
    Visible,
    SizePretty,
    ByOid(BTreeMap<i32, String>),
    Setting(BTreeMap<String, String>),
    /// The first argument: expressions are kept as text.
    First,
    /// The DEFAULT of a column, by its table's oid and its number.
    Default(BTreeMap<(i32, i32), String>),
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CatalogFunction {
    name: String,
    signature: Signature,
    answer: Answer,
}

impl ScalarUDFImpl for CatalogFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(match self.answer {
            Answer::Text(_)
            | Answer::SizePretty
            | Answer::ByOid(_)
            | Answer::Setting(_)
            | Answer::First
            | Answer::Default(_) => DataType::Utf8,
            Answer::Bool(_) | Answer::Visible => DataType::Boolean,
            Answer::Zero => DataType::Int64,
            Answer::Encoding => DataType::Int32,
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let first = || match arguments.args.first() {
            Some(value) => value.to_array(arguments.number_rows),
            None => Err(datafusion::error::DataFusionError::Plan(format!("{} needs an argument", self.name))),
        };
        let scalar = |value| Ok(ColumnarValue::Scalar(value));
        match &self.answer {
            Answer::Text(text) => scalar(ScalarValue::Utf8(text.clone())),
            Answer::Bool(value) => scalar(ScalarValue::Boolean(Some(*value))),
            Answer::Zero => scalar(ScalarValue::Int64(Some(0))),
            Answer::Encoding => scalar(ScalarValue::Int32(Some(6))),
            Answer::Visible => {
                let oids = cast(&first()?, &DataType::Int32)?;
                let visible =
                    |oid: Option<i32>| oid.map(|oid| !(super::information::THALWEG_OID..16384).contains(&oid));
                let answers: BooleanArray = oids.as_primitive::<Int32Type>().iter().map(visible).collect();
                Ok(ColumnarValue::Array(Arc::new(answers)))
            }
            Answer::SizePretty => {
                let sizes = cast(&first()?, &DataType::Int64)?;
                let answers: StringArray =
                    sizes.as_primitive::<Int64Type>().iter().map(|size| size.map(pretty)).collect();
                Ok(ColumnarValue::Array(Arc::new(answers)))
            }
            Answer::ByOid(by_oid) => {
                let oids: ArrayRef = cast(&first()?, &DataType::Int32)?;
                let answer = |oid: Option<i32>| oid.and_then(|oid| by_oid.get(&oid)).map(String::as_str);
                let answers: StringArray = oids.as_primitive::<Int32Type>().iter().map(answer).collect();
                Ok(ColumnarValue::Array(Arc::new(answers)))
            }
            Answer::First => Ok(ColumnarValue::Array(cast(&first()?, &DataType::Utf8)?)),
            Answer::Default(defaults) => {
                let oids = cast(&first()?, &DataType::Int32)?;
                let places = match arguments.args.get(1) {
                    Some(places) => cast(&places.to_array(arguments.number_rows)?, &DataType::Int32)?,
                    None => oids.clone(),
                };
                let pairs = oids.as_primitive::<Int32Type>().iter().zip(places.as_primitive::<Int32Type>());
                let answers: StringArray =
                    pairs.map(|(oid, place)| defaults.get(&(oid?, place?)).map(String::as_str)).collect();
                Ok(ColumnarValue::Array(Arc::new(answers)))
            }
            Answer::Setting(settings) => {
                let names = cast(&first()?, &DataType::Utf8)?;
                let missing_ok = arguments.args.len() > 1;
                let answer = |name: Option<&str>| match name.map(|name| (name, settings.get(&name.to_lowercase()))) {
                    Some((_, Some(value))) => Ok(Some(value.clone())),
                    Some((name, None)) if !missing_ok => Err(Error::new(
                        SqlState::UndefinedObject,
                        format!("unrecognized configuration parameter \"{name}\""),
                    )
                    .into_datafusion()),
                    Some((_, None)) | None => Ok(None),
                };
                let answers: StringArray =
                    names.as_string::<i32>().iter().map(answer).collect::<DataFusionResult<_>>()?;
                Ok(ColumnarValue::Array(Arc::new(answers)))
            }
        }
    }
}

/// PostgreSQL's `pg_size_pretty`.
fn pretty(bytes: i64) -> String {
    let mut size = bytes;
    for unit in ["bytes", "kB", "MB", "GB", "TB"] {
        let last = unit == "TB";
        if size.abs() < 10 * 1024 || last {
            return format!("{size} {unit}");
        }
        // Each step rounds half away from zero, as PostgreSQL's does.
        size = (size + size.signum() * 512) / 1024;
    }
    format!("{size} PB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_printed_as_postgresql_prints_them() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (10_239, "10239 bytes"),
            (10_240, "10 kB"),
            (1_048_576, "1024 kB"),
            (1_073_741_824, "1024 MB"),
        ] {
            assert_eq!(pretty(bytes), text);
        }
    }
}
