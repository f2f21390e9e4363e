//! The functions of `pg_catalog` that ask the catalog.
//!
//! Each answers what is true of Thalweg: there are no triggers, rules, partitions. For queries: a view,
//! whose answer would change without any of its inputs changing, is refused them. What only works on
//! its arguments stands in `crate::planner::functions`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, BooleanArray, Int64Array, StringArray, UInt32Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int32Type};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::scalar::ScalarValue;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::types::PgType;

use super::activity::Signal;
use super::fixed::{FALSES, NULLS, SIZES, TRUES};
use super::names::{self, Named};
use super::queries::CatalogTables;
use super::roles::number;
use super::table::array;
use super::{activity, advisory, config, constraints, privileges, routines, sequences, session};
use crate::catalog::index::bare;
use crate::catalog::{Object, is_temporary};
use crate::planner::SystemFunction;
use crate::roles::acl::Thing;
use crate::session::asked::Asked;
use crate::statement::definition::query_text;

/// Functions with an answer of their own.
const OTHERS: &[&str] = &[
    "acldefault",
    "col_description",
    "current_schemas",
    "current_setting",
    "format_type",
    "getdatabaseencoding",
    "obj_description",
    "pg_backend_pid",
    "pg_cancel_backend",
    "pg_char_to_encoding",
    "pg_client_encoding",
    "pg_encoding_to_char",
    "pg_is_other_temp_schema",
    "pg_my_temp_schema",
    "pg_trigger_depth",
    "pg_get_constraintdef",
    "pg_get_expr",
    "pg_get_function_arguments",
    "pg_get_function_identity_arguments",
    "pg_get_function_result",
    "pg_get_indexdef",
    "pg_get_userbyid",
    "pg_get_viewdef",
    "pg_table_is_visible",
    "pg_terminate_backend",
    "pg_type_is_visible",
    "set_config",
    "pg_encoding_max_length",
    "to_regclass",
    "to_regnamespace",
    "to_regproc",
    "to_regrole",
    "to_regtype",
];

/// In place of a column's number: a whole index for people.
const PRETTY: i32 = -1;

/// What casts to `reg...` types call ([`crate::planner`]).
const REG: &[(&str, Named)] = &[
    ("regclass", Named::Relation),
    ("regtype", Named::Type),
    ("regnamespace", Named::Schema),
    ("regrole", Named::Role),
    ("regproc", Named::Routine),
];

/// Whether a function asks the catalog.
pub(crate) fn is_known(name: &str) -> bool {
    [OTHERS, NULLS, TRUES, FALSES, SIZES].iter().any(|list| list.contains(&name))
        || privileges::is_one(name)
        || session::is_one(name)
        || advisory::is_one(name)
}

/// The function of this name.
pub(crate) fn find(tables: &CatalogTables, name: &str) -> Option<SystemFunction> {
    let others = privileges::find(tables, name).or_else(|| sequences::function(tables, name));
    let others = others.or_else(|| session::function(tables, name)).or_else(|| advisory::function(tables, name));
    if let Some(function) = others {
        return Some(function);
    }
    let answer = answer(tables, name)?;
    let result = answer.result();
    // A call that changes something is no constant.
    let changes = matches!(name, "set_config" | "pg_cancel_backend" | "pg_terminate_backend");
    let volatility = if changes { Volatility::Volatile } else { Volatility::Stable };
    let signature = Signature::one_of(vec![TypeSignature::Nullary, TypeSignature::VariadicAny], volatility);
    let function = CatalogFunction { name: name.into(), signature, answer, result: result.clone() };
    Some(SystemFunction { function: Arc::new(ScalarUDF::new_from_impl(function)), result })
}

fn answer(tables: &CatalogTables, name: &str) -> Option<Answer> {
    let text = |value: &str| Answer::Text(Some(value.to_string()));
    Some(match name {
        "acldefault" => Answer::DefaultAcl(numbers(tables)),
        "pg_my_temp_schema" => Answer::TemporarySchema(tables.temporary().0),
        "pg_is_other_temp_schema" => Answer::OneOf(tables.temporary().1),
        "pg_get_userbyid" => Answer::Role(role_names(tables)),
        "pg_encoding_to_char" | "getdatabaseencoding" | "pg_client_encoding" => text("UTF8"),
        "pg_char_to_encoding" => Answer::Small(6),
        // The domains of information_schema have numbers as high as the tables of ours.
        "pg_table_is_visible" => Answer::Visible(tables.hidden()),
        "pg_type_is_visible" => Answer::TypeVisible,
        "pg_get_viewdef" => Answer::ViewDefinition(view_definitions(tables), tables.visible()),
        "pg_get_constraintdef" => Answer::ByOid(constraints::constraint_definitions(tables)),
        "pg_get_indexdef" => {
            let mut parts = constraints::index_columns(tables);
            parts.extend(constraints::pretty_indexes(tables).into_iter().map(|(oid, text)| ((oid, PRETTY), text)));
            Answer::Index(constraints::index_definitions(tables), parts)
        }
        "pg_get_expr" => Answer::First,
        "pg_backend_pid" => Answer::Pid(tables.pid),
        "pg_cancel_backend" => Answer::Signal(Signal::Cancel, numbers(tables)),
        "pg_terminate_backend" => Answer::Signal(Signal::Terminate, numbers(tables)),
        "set_config" => Answer::Set(tables.asked.clone(), numbers(tables)),
        "current_setting" => Answer::Setting(settings(tables)),
        "current_schemas" => Answer::Schemas(tables.path.clone()),
        "format_type" => Answer::FormatType,
        "obj_description" => Answer::Comment(comments(tables), false),
        "col_description" => Answer::Comment(comments(tables), true),
        "pg_get_function_arguments" | "pg_get_function_identity_arguments" => Answer::ByOid(routines::arguments()),
        "pg_get_function_result" => Answer::ByOid(routines::results()),
        "to_regclass" => Answer::Number(Named::Relation, true, numbers(tables)),
        "to_regnamespace" => Answer::Number(Named::Schema, true, numbers(tables)),
        "to_regproc" => Answer::Number(Named::Routine, true, numbers(tables)),
        "to_regrole" => Answer::Number(Named::Role, true, numbers(tables)),
        "pg_encoding_max_length" => Answer::Small(4),
        "pg_trigger_depth" => Answer::Small(0),
        "to_regtype" => Answer::Number(Named::Type, true, numbers(tables)),
        name if NULLS.contains(&name) => Answer::Text(None),
        name if TRUES.contains(&name) => Answer::Bool(true),
        name if FALSES.contains(&name) => Answer::Bool(false),
        name if SIZES.contains(&name) => Answer::Zero,
        name => {
            let (own, number) = match (name.strip_suffix(" in"), name.strip_suffix(" out")) {
                (Some(own), _) => (own, true),
                (_, Some(own)) => (own, false),
                _ => return None,
            };
            let (_, named) = REG.iter().find(|(known, _)| *known == own)?;
            match number {
                true => Answer::Number(*named, false, numbers(tables)),
                false => Answer::Name(*named, numbers(tables)),
            }
        }
    })
}

fn numbers(tables: &CatalogTables) -> Looked {
    Looked(Arc::new(tables.clone()))
}

/// All comments, by the object's oid and the column's number (0: the object itself).
fn comments(tables: &CatalogTables) -> BTreeMap<(i32, i32), String> {
    let number = |oid: u32| i32::try_from(oid).unwrap_or(i32::MAX);
    let all = tables.published.catalog.comments();
    all.map(|(oid, column, text)| ((number(oid), number(column)), text.to_string())).collect()
}

fn view_definitions(tables: &CatalogTables) -> BTreeMap<i32, String> {
    let catalog = &tables.published.catalog;
    let text = |object: &Object| Some(format!(" {};", query_text(catalog, object, &tables.path)?));
    catalog.objects().filter_map(|object| Some((i32::try_from(object.oid).ok()?, text(object)?))).collect()
}

fn role_names(tables: &CatalogTables) -> BTreeMap<i32, String> {
    tables.published.catalog.roles.all().map(|role| (number(role.oid), role.name.clone())).collect()
}

fn settings(tables: &CatalogTables) -> BTreeMap<String, String> {
    tables.settings.iter().map(|(name, value, _)| (name.to_lowercase(), value.clone())).collect()
}

/// The catalog in a function's value: equal to itself alone.
#[derive(Debug, Clone)]
struct Looked(Arc<CatalogTables>);

impl PartialEq for Looked {
    fn eq(&self, other: &Looked) -> bool {
        Arc::ptr_eq(&self.0.published, &other.0.published)
    }
}

impl Eq for Looked {}

impl std::hash::Hash for Looked {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0.published).hash(state);
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Answer {
    Text(Option<String>),
    Bool(bool),
    Zero,
    Small(i32),
    /// Whether an oid is none of these relations.
    Visible(BTreeSet<i32>),
    /// Whether an oid is a type of `pg_catalog`.
    TypeVisible,
    ByOid(BTreeMap<i32, String>),
    /// The name of a role.
    Role(BTreeMap<i32, String>),
    /// By oid or, in the old form, by name.
    ViewDefinition(BTreeMap<i32, String>, BTreeMap<String, i32>),
    /// The whole statement or, with a second argument, the name of a column.
    Index(BTreeMap<i32, String>, BTreeMap<(i32, i32), String>),
    Setting(BTreeMap<String, String>),
    /// The first argument: expressions are kept as text.
    First,
    /// The session's own number.
    Pid(i32),
    /// Ends what another session does.
    Signal(Signal, Looked),
    /// `set_config`.
    Set(Asked, Looked),
    /// The search path, with `pg_catalog` if the argument is true.
    Schemas(Vec<String>),
    FormatType,
    /// By oid, and by column too if the flag is set.
    Comment(BTreeMap<(i32, i32), String>, bool),
    /// The number behind a name; null instead of an error if the flag is set.
    Number(Named, bool, Looked),
    /// The name of a number.
    Name(Named, Looked),
    /// What is granted on a kind of thing of this owner before anything is said.
    DefaultAcl(Looked),
    /// The oid of the session's temporary schema.
    TemporarySchema(i32),
    /// Whether an oid is one of these: other sessions' temporary schemas.
    OneOf(BTreeSet<i32>),
}

impl Answer {
    fn result(&self) -> PgType {
        match self {
            Answer::Bool(_) | Answer::Visible(_) | Answer::TypeVisible | Answer::Signal(..) | Answer::OneOf(_) => {
                PgType::Bool
            }
            Answer::Zero => PgType::Int8,
            Answer::Small(_) | Answer::Pid(_) => PgType::Int4,
            Answer::Number(..) | Answer::TemporarySchema(_) => PgType::Oid,
            Answer::Schemas(_) | Answer::DefaultAcl(_) => PgType::Array(&PgType::Text),
            _ => PgType::Text,
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CatalogFunction {
    name: String,
    signature: Signature,
    answer: Answer,
    result: PgType,
}

/// The arguments of one call.
pub(super) struct Call<'a> {
    name: &'a str,
    pub(super) args: &'a [ColumnarValue],
    rows: usize,
}

impl Call<'_> {
    pub(super) fn argument(&self, place: usize, layout: &DataType) -> Result<ArrayRef> {
        match self.args.get(place) {
            Some(value) => Ok(cast(&value.to_array(self.rows)?, layout)?),
            None => Err(Error::new(SqlState::UndefinedFunction, format!("function {}() does not exist", self.name))
                .hint(
                    "No function matches the given name and argument types. You might need to add explicit type casts.",
                )),
        }
    }

    /// An argument as numbers; null what is none.
    fn numbers(&self, place: usize) -> Result<Vec<Option<i32>>> {
        Ok(self.argument(place, &DataType::Int32)?.as_primitive::<Int32Type>().iter().collect())
    }

    pub(super) fn texts(&self, place: usize) -> Result<Vec<Option<String>>> {
        let texts = self.argument(place, &DataType::Utf8)?;
        Ok(texts.as_string::<i32>().iter().map(|text| text.map(str::to_string)).collect())
    }
}

/// A text for each row.
fn texts(values: impl Iterator<Item = Option<String>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

impl Answer {
    fn give(&self, call: &Call<'_>) -> Result<ArrayRef> {
        let scalar = |value: ScalarValue| Ok(value.to_array_of_size(call.rows)?);
        match self {
            Answer::Text(text) => scalar(ScalarValue::Utf8(text.clone())),
            Answer::Bool(is) => scalar(ScalarValue::Boolean(Some(*is))),
            Answer::Zero => Ok(Arc::new(Int64Array::from(vec![0; call.rows]))),
            Answer::Small(number) => scalar(ScalarValue::Int32(Some(*number))),
            Answer::TemporarySchema(oid) => scalar(ScalarValue::UInt32(u32::try_from(*oid).ok())),
            Answer::DefaultAcl(tables) => default_acl(call, &tables.0),
            Answer::First => call.argument(0, &DataType::Utf8),
            Answer::Pid(pid) => scalar(ScalarValue::Int32(Some(*pid))),
            Answer::Signal(signal, tables) => activity::signal(&tables.0, *signal, call.numbers(0)?),
            Answer::Set(asked, tables) => config::set(call, asked, &tables.0.current),
            Answer::Schemas(path) => schemas(call, path),
            Answer::Setting(settings) => config::get(call, settings),
            Answer::Number(named, missing_ok, tables) => numbered(call, *named, *missing_ok, &tables.0),
            _ => self.of_numbers(call),
        }
    }

    /// The answers that follow an oid.
    fn of_numbers(&self, call: &Call<'_>) -> Result<ArrayRef> {
        let oids = match self {
            Answer::ViewDefinition(_, names) => named_or_numbered(call, names)?,
            _ => call.numbers(0)?,
        };
        let oids = oids.into_iter();
        Ok(match self {
            Answer::OneOf(known) => {
                Arc::new(oids.map(|oid| oid.map(|oid| known.contains(&oid))).collect::<BooleanArray>())
            }
            Answer::Visible(hidden) => {
                Arc::new(oids.map(|oid| oid.map(|oid| !hidden.contains(&oid))).collect::<BooleanArray>())
            }
            Answer::TypeVisible => {
                let visible = |oid: i32| !(super::information::THALWEG_OID..16384).contains(&oid);
                Arc::new(oids.map(|oid| oid.map(visible)).collect::<BooleanArray>())
            }
            Answer::ByOid(known) | Answer::ViewDefinition(known, _) => texts(oids.map(|oid| known.get(&oid?).cloned())),
            Answer::Role(names) => {
                let unknown = |oid: i32| format!("unknown (OID={oid})");
                texts(oids.map(|oid| Some(names.get(&oid?).cloned().unwrap_or_else(|| unknown(oid.unwrap_or(0))))))
            }
            Answer::Index(whole, columns) => {
                let places = if call.args.len() > 1 { call.numbers(1)? } else { vec![Some(0); call.rows] };
                let pretty = matches!(call.args.get(2), Some(ColumnarValue::Scalar(ScalarValue::Boolean(Some(true)))));
                texts(oids.zip(places).map(|(oid, place)| match (oid?, place?) {
                    (oid, 0) if pretty && columns.contains_key(&(oid, PRETTY)) => columns.get(&(oid, PRETTY)).cloned(),
                    (oid, 0) => whole.get(&oid).cloned(),
                    (oid, place) => {
                        let text = columns.get(&(oid, place)).map_or("", String::as_str);
                        Some(if pretty && text.starts_with("((") { bare(text) } else { text }.to_string())
                    }
                }))
            }
            Answer::FormatType => {
                let modifiers = call.numbers(1)?;
                texts(oids.zip(modifiers).map(|(oid, modifier)| Some(names::type_name(oid?, modifier))))
            }
            Answer::Comment(known, false) if call.args.len() > 1 => {
                let classes = call.texts(1)?;
                let own = names::descriptions();
                texts(oids.zip(classes).map(|(oid, class)| match class?.as_str() {
                    "pg_class" | "pg_namespace" => known.get(&(oid?, 0)).cloned(),
                    class => own.get(&(names::class_oid(class)?, oid?)).cloned(),
                }))
            }
            Answer::Comment(known, of_column) => {
                let places = if *of_column { call.numbers(1)? } else { vec![Some(0); call.rows] };
                texts(oids.zip(places).map(|(oid, place)| known.get(&(oid?, place?)).cloned()))
            }
            Answer::Name(named, tables) => texts(oids.map(|oid| Some(named.name(&tables.0, oid?)))),
            _ => return Err(Error::internal(format!("{} has no answer", call.name))),
        })
    }
}

/// The first argument as oids; a text that is no number is the name of a relation.
fn named_or_numbered(call: &Call<'_>, names: &BTreeMap<String, i32>) -> Result<Vec<Option<i32>>> {
    let number = |text: Option<String>| text.and_then(|text| text.parse().ok().or_else(|| names.get(&text).copied()));
    Ok(call.texts(0)?.into_iter().map(number).collect())
}

/// `acldefault(kind, owner)`; null for kinds that are not here.
fn default_acl(call: &Call<'_>, tables: &CatalogTables) -> Result<ArrayRef> {
    let catalog = &tables.published.catalog;
    let list = |(kind, owner): (Option<String>, Option<i32>)| {
        let thing = Thing::of_letter(&kind?)?;
        let items = super::roles::printed(catalog, &thing.default_acl(u32::try_from(owner?).ok()?));
        match array(&PgType::Text, items.into_iter().map(|item| ScalarValue::Utf8(Some(item))).collect()) {
            ScalarValue::Binary(bytes) => bytes,
            _ => None,
        }
    };
    Ok(Arc::new(call.texts(0)?.into_iter().zip(call.numbers(1)?).map(list).collect::<BinaryArray>()))
}

fn schemas(call: &Call<'_>, path: &[String]) -> Result<ArrayRef> {
    let all = call.argument(0, &DataType::Boolean)?;
    let list = |all: Option<bool>| {
        // What every path begins with, unless it says where.
        let (own, named): (Vec<&String>, Vec<&String>) = path.iter().partition(|name| is_temporary(name));
        let all = all?;
        let implied = (all && !named.iter().any(|name| *name == "pg_catalog")).then(|| "pg_catalog".to_string());
        let own = own.into_iter().filter(|_| all).cloned();
        let names = own.chain(implied).chain(named.into_iter().cloned());
        match array(&PgType::Text, names.map(|name| ScalarValue::Utf8(Some(name))).collect()) {
            ScalarValue::Binary(bytes) => bytes,
            _ => None,
        }
    };
    Ok(Arc::new(all.as_boolean().iter().map(list).collect::<BinaryArray>()))
}

fn numbered(call: &Call<'_>, named: Named, missing_ok: bool, tables: &CatalogTables) -> Result<ArrayRef> {
    let answer = |text: Option<String>| match text.map(|text| named.number(tables, &text)) {
        Some(Ok(number)) => Ok(Some(u32::try_from(number).unwrap_or(0))),
        Some(Err(error)) if !missing_ok => Err(error),
        Some(Err(_)) | None => Ok(None),
    };
    Ok(Arc::new(call.texts(0)?.into_iter().map(answer).collect::<Result<UInt32Array>>()?))
}

impl ScalarUDFImpl for CatalogFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.result.arrow())
    }

    fn return_field_from_args(&self, _arguments: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(self.result.field(&self.name, true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let constant = arguments.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let constant = constant && arguments.number_rows > 0;
        let rows = if constant { 1 } else { arguments.number_rows };
        let call = Call { name: &self.name, args: &arguments.args, rows };
        let answers = self.answer.give(&call).map_err(Error::into_datafusion)?;
        match constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&answers, 0)?)),
            false => Ok(ColumnarValue::Array(answers)),
        }
    }
}
