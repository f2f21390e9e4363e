//! `has_table_privilege` and its kin: what a role may do, as SQL functions.
//!
//! Each is called with or without the role in front; things are named or given by oid. Promises:
//! their answers are those of the checks that statements meet. An oid of nothing gives null.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::types::PgType;

use super::information::schema_named;
use super::queries::CatalogTables;
use super::roles::role_by;
use crate::catalog::{Catalog, Object};
use crate::database::Published;
use crate::planner::SystemFunction;
use crate::roles::acl::{self, PUBLIC, Rights, Thing};
use crate::roles::rights::Asker;

/// What a function asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum About {
    Table,
    Column,
    Sequence,
    Schema,
    Database,
    Role,
}

/// The functions by name.
const FUNCTIONS: [(&str, About); 7] = [
    ("has_any_column_privilege", About::Table),
    ("has_column_privilege", About::Column),
    ("has_database_privilege", About::Database),
    ("has_schema_privilege", About::Schema),
    ("has_sequence_privilege", About::Sequence),
    ("has_table_privilege", About::Table),
    ("pg_has_role", About::Role),
];

/// Whether a function is one of these.
pub(super) fn is_one(name: &str) -> bool {
    FUNCTIONS.iter().any(|(known, _)| *known == name)
}

/// The function of this name, if it is one of these.
pub(super) fn find(tables: &CatalogTables, name: &str) -> Option<SystemFunction> {
    let (name, about) = *FUNCTIONS.iter().find(|(known, _)| *known == name)?;
    let signature = Signature::one_of(vec![TypeSignature::VariadicAny], Volatility::Stable);
    let published = tables.published.clone();
    let path = tables.path.clone();
    let function = Privilege { name, about, signature, role: tables.role, path, published };
    Some(SystemFunction { function: Arc::new(ScalarUDF::new_from_impl(function)), result: PgType::Bool })
}

#[derive(Debug)]
struct Privilege {
    name: &'static str,
    about: About,
    signature: Signature,
    role: u32,
    path: Vec<String>,
    published: Arc<Published>,
}

impl PartialEq for Privilege {
    fn eq(&self, other: &Privilege) -> bool {
        (self.name, self.role, &self.path) == (other.name, other.role, &other.path)
            && Arc::ptr_eq(&self.published, &other.published)
    }
}

impl Eq for Privilege {}

impl Hash for Privilege {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.name, self.role, Arc::as_ptr(&self.published) as usize).hash(state);
    }
}

/// An argument in one row.
#[derive(Clone, Copy)]
struct Argument<'a> {
    value: &'a str,
    is_oid: bool,
}

impl ScalarUDFImpl for Privilege {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(PgType::Bool.field(self.name, true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let mut texts = Vec::with_capacity(arguments.args.len());
        for argument in &arguments.args {
            let array = argument.to_array(arguments.number_rows)?;
            texts.push((cast(&array, &DataType::Utf8)?, array.data_type().is_integer()));
        }
        let row = |row: usize| {
            let argument = |(texts, is_oid): &(arrow::array::ArrayRef, bool)| {
                let texts = texts.as_string_opt::<i32>()?;
                texts.is_valid(row).then(|| (texts.value(row).to_string(), *is_oid))
            };
            let Some(owned) = texts.iter().map(argument).collect::<Option<Vec<_>>>() else { return Ok(None) };
            let given: Vec<Argument<'_>> =
                owned.iter().map(|(value, is_oid)| Argument { value, is_oid: *is_oid }).collect();
            self.answer(&given).map_err(Error::into_datafusion)
        };
        let answers = (0..arguments.number_rows).map(row).collect::<DataFusionResult<BooleanArray>>()?;
        Ok(ColumnarValue::Array(Arc::new(answers)))
    }
}

impl Privilege {
    fn answer(&self, given: &[Argument<'_>]) -> Result<Option<bool>> {
        let things = if self.about == About::Column { 2 } else { 1 };
        let catalog = &self.published.catalog;
        let missing = || {
            let message = format!("function {} does not exist", self.name);
            Error::new(SqlState::UndefinedFunction, message)
        };
        let (privilege, given) = given.split_last().ok_or_else(missing)?;
        let (role, thing) = match given.len().checked_sub(things) {
            Some(0) => (self.role, given[0]),
            Some(1) => (role_by(catalog, given[0].value, given[0].is_oid)?, given[1]),
            _ => return Err(missing()),
        };
        let asker = Asker { catalog, role };
        match self.about {
            About::Role => self.of_role(asker, thing, privilege.value),
            About::Table | About::Column => {
                let Some(object) = self.relation(thing)? else { return Ok(None) };
                let owner = catalog.owner(object.oid);
                let acl = Catalog::acl_in_force(catalog.acl(object.oid), Thing::Relation, owner);
                let columns = catalog.held_on_columns(role, object.oid);
                let column = match self.about {
                    About::Column => Some(column_number(object, given.last())?),
                    _ => None,
                };
                let on_column = |right: Rights| match column {
                    Some(number) => {
                        number.and_then(|number| columns.get(&number)).is_some_and(|held| right & !held == 0)
                    }
                    None => self.name == "has_any_column_privilege" && columns.values().any(|held| right & !held == 0),
                };
                let has = |right| asker.has(object.oid, right) || on_column(right);
                any(privilege.value, Thing::Relation, has, |right| grantable(asker, owner, &acl, right)).map(Some)
            }
            About::Sequence => {
                let Some(object) = self.relation(thing)? else { return Ok(None) };
                if object.sequence().is_none() {
                    let message = format!("\"{}\" is not a sequence", object.name);
                    return Err(Error::new(SqlState::WrongObjectType, message));
                }
                let owner = catalog.owner(object.oid);
                let acl = Catalog::acl_in_force(catalog.acl(object.oid), Thing::Sequence, owner);
                let has = |right| asker.has(object.oid, right);
                any(privilege.value, Thing::Sequence, has, |right| grantable(asker, owner, &acl, right)).map(Some)
            }
            About::Schema => {
                let found = schema_named(catalog, thing.value, thing.is_oid)?;
                let Some((oid, schema)) = found else { return Ok(None) };
                let acl = catalog.schema_acl(oid);
                let has = |right| asker.has_on_schema(schema, right);
                let options = |right| grantable(asker, catalog.owner(oid), &acl, right);
                any(privilege.value, Thing::Schema, has, options).map(Some)
            }
            About::Database => {
                let acl = Catalog::acl_in_force(catalog.database_acl(), Thing::Database, crate::roles::SUPERUSER);
                let has = |right| asker.has_on_database(right);
                let options = |right| grantable(asker, crate::roles::SUPERUSER, &acl, right);
                any(privilege.value, Thing::Database, has, options).map(Some)
            }
        }
    }

    /// The relation that is meant; `None`: an oid of nothing, or of what everybody may read.
    fn relation(&self, thing: Argument<'_>) -> Result<Option<&Object>> {
        let catalog = &self.published.catalog;
        if thing.is_oid {
            return Ok(thing.value.parse().ok().and_then(|oid| catalog.get(oid)));
        }
        let plain = |part: &str| match part.strip_prefix('"').and_then(|part| part.strip_suffix('"')) {
            Some(quoted) => quoted.replace("\"\"", "\""),
            None => part.to_lowercase(),
        };
        let (schema, name) = match thing.value.split_once('.') {
            Some((schema, name)) => (Some(plain(schema)), plain(name)),
            None => (None, plain(thing.value)),
        };
        let found = catalog.find(schema.as_deref(), &name, &self.path);
        let missing = || Error::new(SqlState::UndefinedTable, format!("relation \"{}\" does not exist", thing.value));
        found.ok_or_else(missing).map(Some)
    }

    fn of_role(&self, asker: Asker<'_>, thing: Argument<'_>, privileges: &str) -> Result<Option<bool>> {
        let roles = &asker.catalog.roles;
        let role = role_by(asker.catalog, thing.value, thing.is_oid)?;
        for privilege in privileges.split(',').map(|word| word.trim().to_uppercase()) {
            let (word, admin) = match privilege.strip_suffix(" WITH ADMIN OPTION") {
                Some(word) => (word, true),
                None => (
                    privilege.strip_suffix(" WITH GRANT OPTION").unwrap_or(&privilege),
                    privilege.ends_with("GRANT OPTION"),
                ),
            };
            let has = match word {
                _ if admin => roles.administers(asker.role, role),
                "MEMBER" => roles.is_superuser(asker.role) || roles.is_member(asker.role, role),
                "USAGE" => roles.has_rights_of(asker.role, role),
                "SET" => roles.can_become(asker.role, role),
                _ => return Err(unrecognized(&privilege)),
            };
            if has {
                return Ok(Some(true));
            }
        }
        Ok(Some(false))
    }
}

/// The number of a column that is named or counted; `None`: there is none of this place.
fn column_number(object: &Object, column: Option<&Argument<'_>>) -> Result<Option<u32>> {
    let Some(column) = column else { return Ok(None) };
    let place = match column.is_oid {
        true => column.value.parse::<usize>().ok().and_then(|number| number.checked_sub(1)),
        false => {
            let found = object.columns.iter().position(|known| known.name == column.value);
            let message = || format!("column \"{}\" of relation \"{}\" does not exist", column.value, object.name);
            Some(found.ok_or_else(|| Error::new(SqlState::UndefinedColumn, message()))?)
        }
    };
    Ok(place.and_then(|place| object.numbers().get(place).copied()))
}

fn unrecognized(privilege: &str) -> Error {
    Error::new(SqlState::InvalidParameter, format!("unrecognized privilege type: \"{privilege}\""))
}

fn grantable(asker: Asker<'_>, owner: u32, acl: &acl::Acl, right: Rights) -> bool {
    let roles = &asker.catalog.roles;
    let inherited = roles.inherited(asker.role);
    roles.has_rights_of(asker.role, owner)
        || (asker.role != PUBLIC && right & !acl.grantable(|grantee| inherited.contains(&grantee)) == 0)
}

/// Whether one of the privileges of a list is there, each perhaps with its grant option.
fn any(
    privileges: &str,
    thing: Thing,
    has: impl Fn(Rights) -> bool,
    may_grant: impl Fn(Rights) -> bool,
) -> Result<bool> {
    let mut found = false;
    for privilege in privileges.split(',').map(|word| word.trim().to_uppercase()) {
        let (word, option) = match privilege.strip_suffix(" WITH GRANT OPTION") {
            Some(word) => (word, true),
            None => (privilege.as_str(), false),
        };
        let right = acl::named(word, thing).map_err(|_| unrecognized(&privilege))?;
        found |= has(right) && (!option || may_grant(right));
    }
    Ok(found)
}
