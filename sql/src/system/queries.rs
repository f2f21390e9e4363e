//! What the catalog tables are made from, and which queries are about the catalog.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::sql::sqlparser::ast::{Expr, Query};

use thalweg_dataflow::engine::Engine;

use super::information::{Relation, THALWEG_OID};
use super::roles::number;
use super::{constraints, functions};
use crate::catalog::{Rule, is_temporary};
use crate::database::Published;
use crate::locks::SessionLocks;
use crate::parser::ObjectKind;
use crate::roles::SUPERUSER;
use crate::sequence::{Sequences, Used};
use crate::session::Notice;
use crate::session::activity::Sessions;
use crate::session::asked::Asked;
use crate::session::own::{Random, TransactionNumber, Transactions};
use crate::settings::{SessionSettings, Setting};
use crate::statement::create_source::columns_of;
use crate::statement::resolve::{folded, relations_of};
use crate::walk::any_expr;
use tokio::sync::mpsc;

/// The oid of the access method of rows, in `pg_am`.
const HEAP: i32 = 2;

/// What the catalog tables are made from.
#[derive(Debug, Clone)]
pub(crate) struct CatalogTables {
    /// The catalog.
    pub(crate) published: Arc<Published>,
    /// The role who asks.
    pub(crate) role: u32,
    /// The schemas of `search_path`.
    pub(crate) path: Vec<String>,
    /// Where sequences stand.
    pub(crate) sequences: Arc<Sequences>,
    /// What the session had of them.
    pub(crate) used: Used,
    /// The session's `random()`.
    pub(crate) random: Random,
    /// The numbers of transactions.
    pub(crate) transactions: Arc<Transactions>,
    /// That of the one that asks.
    pub(crate) transaction: TransactionNumber,
    /// All settings: name, value, what it does.
    pub(crate) settings: Vec<(String, String, &'static str)>,
    /// PostgreSQL's among them, each with its value and what RESET goes back to.
    pub(crate) listed: Vec<(&'static Setting, String, String)>,
    /// The session's settings as they are.
    pub(crate) current: SessionSettings,
    /// Where set_config leaves word.
    pub(crate) asked: Asked,
    /// Who is connected.
    pub(crate) sessions: Arc<Sessions>,
    /// The number of the session that asks.
    pub(crate) pid: i32,
    /// Its locks, and the way to all others.
    pub(crate) locks: SessionLocks,
    /// Where its warnings go.
    pub(crate) notices: mpsc::Sender<Notice>,
    /// Knows how many rows views and tables have.
    pub(crate) engine: Engine,
    /// The tables of schema `thalweg`.
    pub(crate) thalweg: Vec<(&'static str, SchemaRef)>,
}

impl CatalogTables {
    /// Who owns a relation; an index is its table's owner's.
    pub(super) fn owner_of(&self, relation: &Relation) -> u32 {
        let own = relation.table.unwrap_or(relation.oid);
        u32::try_from(own).map_or(SUPERUSER, |oid| self.published.catalog.owner(oid))
    }

    /// The name of an object's owner.
    pub(super) fn owner(&self, oid: u32) -> String {
        let catalog = &self.published.catalog;
        catalog.roles.name(catalog.owner(oid))
    }

    /// The oid of a schema, 0 for what is none.
    pub(super) fn schema_oid(&self, name: &str) -> i32 {
        self.published.catalog.schema_oid(name).map_or(0, number)
    }

    /// The relations and indexes that a name without a schema does not mean.
    pub(super) fn hidden(&self) -> BTreeSet<i32> {
        let all: Vec<Relation> = self.relations().into_iter().chain(constraints::indexes(self)).collect();
        let mut first: HashMap<&str, (usize, i32)> = HashMap::new();
        for relation in &all {
            let Some(place) = self.path.iter().position(|schema| *schema == relation.schema) else { continue };
            let best = first.entry(&relation.name).or_insert((place, relation.oid));
            if place < best.0 {
                *best = (place, relation.oid);
            }
        }
        let is_found = |one: &&Relation| first.get(one.name.as_str()).is_some_and(|(_, oid)| *oid == one.oid);
        all.iter().filter(|one| !is_found(one)).map(|one| one.oid).collect()
    }

    /// The oid of the session's temporary schema, 0 if there is none, and those of other sessions.
    pub(super) fn temporary(&self) -> (i32, BTreeSet<i32>) {
        let all = self.published.catalog.schemas().filter(|(_, name)| is_temporary(name));
        let (own, others): (Vec<_>, Vec<_>) = all.partition(|(_, name)| self.path.iter().any(|known| known == name));
        let own = own.first().map_or(0, |(oid, _)| number(*oid));
        (own, others.into_iter().map(|(oid, _)| number(oid)).collect())
    }

    /// The relations that a name without a schema means.
    pub(super) fn visible(&self) -> BTreeMap<String, i32> {
        let hidden = self.hidden();
        let seen = self.relations().into_iter().filter(|one| !hidden.contains(&one.oid));
        seen.map(|one| (one.name, one.oid)).collect()
    }

    /// Users' objects, then the tables of schema `thalweg`.
    pub(crate) fn relations(&self) -> Vec<Relation> {
        let objects = self.published.catalog.objects().map(|object| Relation {
            oid: i32::try_from(object.oid).unwrap_or(i32::MAX),
            namespace: self.schema_oid(&object.schema),
            schema: object.schema.clone(),
            name: object.name.clone(),
            columns: object.columns.clone(),
            kind: match object.kind() {
                ObjectKind::View => "m",
                ObjectKind::NamedQuery => "v",
                ObjectKind::Sequence => "S",
                ObjectKind::Source | ObjectKind::Table => "r",
            },
            method: if matches!(object.kind(), ObjectKind::NamedQuery | ObjectKind::Sequence) { 0 } else { HEAP },
            checks: object.table().map_or(0, |table| {
                let checks = table.constraints.iter().filter(|one| matches!(one.rule, Rule::Check(_))).count();
                i16::try_from(checks).unwrap_or(i16::MAX)
            }),
            indexed: object.index_names().next().is_some(),
            table: None,
        });
        let system = (THALWEG_OID..).zip(&self.thalweg).map(|(oid, (name, schema))| Relation {
            oid,
            namespace: self.schema_oid("thalweg"),
            schema: "thalweg".into(),
            name: (*name).into(),
            columns: columns_of(schema),
            kind: "r",
            method: HEAP,
            checks: 0,
            indexed: false,
            table: None,
        });
        objects.chain(system).collect()
    }
}

/// Whether a query is about the catalog: its answer follows no input of a view.
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
    any_expr(query, &mut |expr| match expr {
        Expr::Function(function) => match folded(&function.name) {
            Some((_, name)) if functions::is_known(&name) => true,
            Some((Some(schema), _)) => schema == "pg_catalog",
            _ => false,
        },
        Expr::Cast { data_type, .. } => data_type.to_string().to_lowercase().contains("reg"),
        _ => false,
    })
}
