//! ALTER TABLE ... ADD COLUMN, DROP COLUMN, TYPE and what rows are held against: the actions that write a
//! table's rows again. Each changes the [`Draft`]; its end does them all.

use thalweg_dataflow::error::{Error, Result};
use thalweg_dataflow::types::PgType;

use super::draft::{Draft, Rewrite};
use crate::catalog::{Constraint, Index, Object, ObjectData, Rule};
use crate::parser::table::CreateTable;
use crate::session::Session;
use crate::statement::create_table::{
    bound_defaults, check_expressions, check_generated, columns_in, constraints, enter_generated,
};
use crate::statement::sequence::generated;

/// Adds columns.
pub(crate) async fn add_columns(session: &mut Session, draft: &mut Draft, one: &CreateTable) -> Result<()> {
    draft.renew()?;
    let mut object = draft.object.clone();
    object.columns.extend(one.columns.iter().cloned());
    let mut table = draft.table()?.clone();
    let known = table.constraints.clone();
    let count = known.len();
    let all = constraints(&one.constraints, known, &mut object, &mut draft.next.catalog)?;
    table.defaults.extend(bound_defaults(session, &draft.next.catalog, &one.defaults)?);
    check_expressions(session, &object, &table.defaults, &all)?;
    let new = all[count..].to_vec();
    table.constraints = all;
    let next_number = table.next_number;
    table.numbers.extend((next_number..).take(one.columns.len()));
    table.next_number = table.numbers.iter().max().map_or(next_number, |last| (last + 1).max(next_number));
    enter_generated(&mut table, &object.columns, &one.generated);
    object.data = ObjectData::Table(table);
    check_generated(session, &object)?;
    for sequence in generated(&one.generators, one, &mut object, &mut draft.next.catalog)? {
        let kept = sequence.table_definition().ok_or_else(|| Error::internal("a sequence without a table"))?;
        let relation = sequence.relation();
        session.create(&mut draft.next.catalog, sequence)?;
        session.database.0.engine.add_table(kept).await?;
        draft.made.push(relation);
    }
    draft.step(object, Rewrite::Added(new));
    Ok(())
}

/// Drops a column, the constraints that need it and these views.
pub(crate) fn drop_column(draft: &mut Draft, place: usize, views: &[u32]) -> Result<()> {
    draft.renew()?;
    let mut object = draft.object.clone();
    let name = object.columns.remove(place).name;
    let mut table = draft.table()?.clone();
    table.defaults.remove(place);
    let mut kept = Vec::with_capacity(table.constraints.len());
    for mut constraint in table.constraints {
        let needs = match &mut constraint.rule {
            Rule::Check(text) => columns_in(text)?.contains(&name),
            Rule::Unique { columns, .. } => {
                let needs = columns.contains(&place);
                columns.iter_mut().filter(|known| **known > place).for_each(|known| *known -= 1);
                needs
            }
        };
        if !needs {
            kept.push(constraint);
        }
    }
    table.constraints = kept;
    let mut indexes = Vec::with_capacity(table.indexes.len());
    for mut index in table.indexes {
        if !names_column(&index, place, &name)? {
            index.without(place);
            indexes.push(index);
        }
    }
    table.indexes = indexes;
    let number = table.numbers.remove(place);
    table.identities.retain(|identity| identity.column != number);
    table.generated.retain(|generated| generated.column != number);
    let catalog = &mut draft.next.catalog;
    let sequences: Vec<u32> = catalog.owned_by(object.oid, number).map(|sequence| sequence.oid).collect();
    let gone = views.iter().chain(&sequences).filter_map(|oid| catalog.remove(*oid));
    draft.gone.extend(gone.flat_map(|view| view.relations()));
    object.data = ObjectData::Table(table);
    draft.step(object, Rewrite::Dropped(place));
    Ok(())
}

/// Whether an index needs a column.
fn names_column(index: &Index, place: usize, name: &String) -> Result<bool> {
    let mut named = index.places().contains(&place) || index.extras.included.contains(&place);
    for text in index.extras.texts() {
        named |= columns_in(text)?.contains(name);
    }
    Ok(named)
}

/// Puts NOT NULL or constraints on a table, as `object` has them; its rows are held against them.
pub(crate) fn hold_rows(draft: &mut Draft, object: Object, new: Vec<Constraint>) -> Result<()> {
    draft.object = object;
    draft.renew()?;
    draft.step(draft.object.clone(), Rewrite::Held(new));
    Ok(())
}

/// Gives a column another type, for the views that do not read it another column.
pub(crate) fn retype(
    session: &Session,
    draft: &mut Draft,
    place: usize,
    data_type: &PgType,
    using: Option<&str>,
) -> Result<()> {
    draft.renew()?;
    let columns = draft.object.columns.clone();
    let mut object = draft.object.clone();
    object.columns[place].data_type = data_type.clone();
    let mut table = draft.table()?.clone();
    check_expressions(session, &object, &table.defaults, &table.constraints)?;
    let number = table.next_number;
    table.next_number += 1;
    let before = std::mem::replace(&mut table.numbers[place], number);
    table.identities.iter_mut().filter(|one| one.column == before).for_each(|one| one.column = number);
    table.generated.iter_mut().filter(|one| one.column == before).for_each(|one| one.column = number);
    let constraints = table.constraints.clone();
    let owned: Vec<Object> = draft.next.catalog.owned_by(object.oid, before).cloned().collect();
    for mut sequence in owned {
        if let ObjectData::Sequence(sequence) = &mut sequence.data {
            sequence.owned_by = Some((object.oid, number));
        }
        draft.next.catalog.put(sequence);
    }
    object.data = ObjectData::Table(table);
    let using = using.map(str::to_string);
    draft.step(object, Rewrite::Typed { place, using, columns, constraints });
    Ok(())
}
