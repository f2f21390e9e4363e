//! LIKE in CREATE TABLE: the columns of another relation, and what of it INCLUDING asks for.
//!
//! The new table is its own: nothing ties it to the other afterwards.

use thalweg_dataflow::error::{Error, Result, SqlState};

use crate::catalog::index::Extras;
use crate::catalog::{Catalog, Object, Rule};
use crate::parser::like::Like;
use crate::parser::sequence::SequenceOptions;
use crate::parser::table::{self, CreateTable, Generator, GeneratorKind};
use crate::roles::acl::SELECT;
use crate::session::Session;

/// An index to be made.
pub(super) struct NewIndex {
    pub(super) unique: bool,
    /// Its columns and what stands behind each.
    pub(super) columns: Vec<(String, String)>,
    /// INCLUDE.
    pub(super) included: Vec<String>,
    /// What it has besides, as the other has it.
    pub(super) extras: Extras,
}

/// The statement with the columns of others in it, and the indexes that come with them.
pub(super) fn expanded(
    session: &Session,
    catalog: &Catalog,
    create: &CreateTable,
) -> Result<(CreateTable, Vec<NewIndex>)> {
    let mut whole = create.clone();
    let mut indexes = Vec::new();
    // From the last to the first, so that the places of the others stay.
    for like in create.likes.iter().rev() {
        let of = session.relation(catalog, &like.name)?;
        session.asker(catalog).need(of, SELECT)?;
        if of.sequence().is_some() {
            let message = format!("relation \"{}\" is invalid in LIKE clause", of.name);
            return Err(
                Error::new(SqlState::WrongObjectType, message).detail("This operation is not supported for sequences.")
            );
        }
        add(like, of, catalog, &mut whole, &mut indexes);
    }
    for (place, column) in whole.columns.iter().enumerate() {
        if whole.columns[..place].iter().any(|known| known.name == column.name) {
            let message = format!("column \"{}\" specified more than once", column.name);
            return Err(Error::new(SqlState::DuplicateColumn, message));
        }
    }
    Ok((whole, indexes))
}

fn add(like: &Like, of: &Object, catalog: &Catalog, whole: &mut CreateTable, indexes: &mut Vec<NewIndex>) {
    let name_of = |place: &usize| of.columns.get(*place).map(|column| column.name.clone());
    let defaults = of.table().filter(|_| like.includes("DEFAULTS")).map(|table| table.defaults.clone());
    let defaults = defaults.unwrap_or_else(|| vec![None; of.columns.len()]);
    whole.columns.splice(like.at..like.at, of.columns.iter().cloned());
    whole.defaults.splice(like.at..like.at, defaults);
    let Some(table) = of.table() else { return };
    if like.includes("GENERATED") {
        let computed = |place: usize| Some((of.columns[place].name.clone(), of.generated(place)?.to_string()));
        whole.generated.extend((0..of.columns.len()).filter_map(computed));
    }
    for constraint in &table.constraints {
        let rule = match &constraint.rule {
            Rule::Check(text) if like.includes("CONSTRAINTS") => table::Rule::Check(text.clone()),
            Rule::Unique { primary, columns, .. } if like.includes("INDEXES") => {
                let names = columns.iter().filter_map(name_of).collect();
                if *primary { table::Rule::PrimaryKey(names) } else { table::Rule::Unique(names) }
            }
            _ => continue,
        };
        let name = matches!(rule, table::Rule::Check(_)).then(|| constraint.name.clone());
        whole.constraints.push(table::Constraint { name, rule });
    }
    if like.includes("INDEXES") {
        for index in &table.indexes {
            let column = |(place, order): &(usize, String)| Some((name_of(place)?, order.clone()));
            indexes.push(NewIndex {
                unique: index.unique,
                columns: index.columns.iter().filter_map(column).collect(),
                included: index.extras.included.iter().filter_map(name_of).collect(),
                extras: index.extras.clone(),
            });
        }
    }
    if like.includes("IDENTITY") {
        for (place, column) in of.columns.iter().enumerate() {
            let Some(identity) = of.identity(place) else { continue };
            let Some(sequence) = catalog.get(identity.sequence).and_then(Object::sequence) else { continue };
            let options = SequenceOptions {
                increment: Some(sequence.increment),
                min: Some(Some(sequence.min)),
                max: Some(Some(sequence.max)),
                start: Some(sequence.start),
                cache: Some(sequence.cache),
                cycle: Some(sequence.cycle),
                ..SequenceOptions::default()
            };
            let kind = GeneratorKind::Identity { always: identity.always };
            whole.generators.push(Generator { column: column.name.clone(), kind, options });
        }
    }
}
