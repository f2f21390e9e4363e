//! SHOW: settings, lists of objects, and the statements that would make them again.
//!
//! Everything is text. Secrets never show: the connectors redact.

use arrow::datatypes::SchemaRef;
use thalweg_dataflow::engine::BuildState;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::source::Column;

use super::resolve::with_near_name;
use super::{definition, text_columns, text_rows};
use crate::catalog::{Object, ObjectData, is_temporary};
use crate::parser::{Name, ObjectKind, Show};
use crate::session::{Outcome, RowsTag, Session};
use crate::settings::spelled;
use crate::system::thalweg::source_state;

/// The columns of its answer.
pub(crate) fn columns(show: &Show) -> Result<SchemaRef> {
    Ok(match show {
        Show::All => text_columns(&["name", "setting", "description"]),
        Show::Setting(name) => text_columns(&[&spelled(name)]),
        Show::Schemas => text_columns(&["name"]),
        Show::Columns(_) => text_columns(&["name", "type", "nullable"]),
        Show::Create(..) => text_columns(&["name", "create_sql"]),
        Show::Objects(ObjectKind::Source) => text_columns(&["name", "connector", "status"]),
        Show::Objects(ObjectKind::NamedQuery | ObjectKind::Sequence) => text_columns(&["name"]),
        Show::Objects(ObjectKind::View) => text_columns(&["name", "status"]),
        Show::Objects(ObjectKind::Table) => text_columns(&["name", "stored_as", "location"]),
    })
}

/// See the module.
pub(crate) fn run(session: &mut Session, show: &Show) -> Result<Outcome> {
    let schema = columns(show)?;
    let mut rows: Vec<Vec<String>> = Vec::new();
    match show {
        Show::All => rows.extend(
            session.settings.all().into_iter().map(|(name, value, about)| vec![name, value, about.to_string()]),
        ),
        Show::Setting(name) => rows.push(vec![session.settings.get(name)?.to_string()]),
        Show::Create(kind, name) => {
            let published = session.database.published();
            let object = super::drop::find(session, &published.catalog, *kind, name).map_err(without_drop_hint)?;
            let connectors = &*session.database.0.connectors;
            let path = session.path_in(&published.catalog);
            let text = definition::create_statement(&published.catalog, object, &path, connectors);
            rows.push(vec![object.name.clone(), text]);
        }
        Show::Schemas => {
            let published = session.database.published();
            let named = published.catalog.schemas().filter(|(_, name)| !is_temporary(name));
            rows.extend(named.map(|(_, name)| vec![name.to_string()]));
            rows.sort();
        }
        Show::Columns(name) => rows.extend(columns_of(session, name)?),
        Show::Objects(kind) => rows.extend(objects(session, *kind)),
    }
    let columns =
        (0..schema.fields().len()).map(|column| rows.iter().map(|row| Some(row[column].clone())).collect()).collect();
    text_rows(schema, columns, RowsTag::Show)
}

/// The columns of a relation: name, type, and whether it may be null.
fn columns_of(session: &Session, name: &Name) -> Result<Vec<Vec<String>>> {
    let published = session.database.published();
    let path = session.path_in(&published.catalog);
    let object = published.catalog.find(name.schema.as_deref(), &name.name, &path);
    let Some(object) = object else {
        let message = format!("relation \"{name}\" does not exist");
        return Err(with_near_name(&published, Error::new(SqlState::UndefinedTable, message)));
    };
    let row = |column: &Column| {
        let nullable = if column.not_null { "no" } else { "yes" };
        vec![column.name.clone(), column.data_type.name(), nullable.to_string()]
    };
    Ok(object.columns.iter().map(row).collect())
}

/// The hint of a wrong kind speaks of DROP, which nobody asked for.
pub(crate) fn without_drop_hint(error: thalweg_dataflow::Error) -> thalweg_dataflow::Error {
    match error.hint_text() {
        Some(hint) if hint.starts_with("Use DROP") => thalweg_dataflow::Error::new(error.state(), error.message()),
        _ => error,
    }
}

fn objects(session: &Session, kind: ObjectKind) -> Vec<Vec<String>> {
    let published = session.database.published();
    let status = session.database.status();
    let mut objects: Vec<&Object> = published.catalog.objects().filter(|object| object.kind() == kind).collect();
    objects.sort_by(|a, b| (&a.name, &a.schema).cmp(&(&b.name, &b.schema)));
    let path = session.path_in(&published.catalog);
    let name = |object: &Object| published.catalog.full_name(object, &path);
    let row = |object: &&Object| match &object.data {
        ObjectData::Source(definition) => {
            let connector = definition.options.get("connector").cloned().unwrap_or_default();
            vec![name(object), connector, source_state(status.sources.get(&object.relation())).to_string()]
        }
        ObjectData::View(_) => {
            vec![name(object), view_state(status.views.get(&object.relation()).map(|view| &view.state))]
        }
        ObjectData::NamedQuery(_) | ObjectData::Sequence(_) => vec![name(object)],
        ObjectData::StoredSource(stored) => {
            let connector = stored.definition.options.get("connector").cloned().unwrap_or_default();
            vec![name(object), "TABLE".into(), connector]
        }
        ObjectData::Table(_) => vec![name(object), "TABLE".into(), String::new()],
        ObjectData::Files(definition) => {
            vec![name(object), definition.stored_as.clone(), definition.location.clone()]
        }
    };
    objects.iter().map(row).collect()
}

/// `live`, `building (31 %)`, `failed`.
pub(crate) fn view_state(state: Option<&BuildState>) -> String {
    match state {
        Some(BuildState::Live) => "live".into(),
        Some(BuildState::Building { done, .. }) => {
            format!("building ({:.0} %)", (done.clamp(0.0, 1.0) * 100.0).floor())
        }
        Some(BuildState::Failed(_)) => "failed".into(),
        None => "building (0 %)".into(),
    }
}
