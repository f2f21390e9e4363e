//! A stored query's text as it means the same now, to somebody with another search path.
//!
//! Leaves names of WITH queries alone, and the text as it is where every name in it means what it did;
//! else writes the text anew, so that its layout is not kept.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::sql::sqlparser::ast::{Ident, ObjectName, ObjectNamePart, Query};

use super::definition::quoted;
use super::resolve::folded;
use crate::catalog::{Catalog, Stored};
use crate::parser::parse_query;
use crate::settings::SessionSettings;
use crate::walk::{Node, NodeMut, ON, walk, walk_mut};

/// The names of WITH queries.
fn withs(query: &Query) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let _ = walk(query, &mut |node| {
        if let Node::Query(query) = node {
            let named = query.with.iter().flat_map(|with| &with.cte_tables);
            let names = named.filter_map(|cte| folded(&ObjectName::from(vec![cte.alias.name.clone()])));
            found.extend(names.map(|(_, name)| name));
        }
        ON
    });
    found
}

/// A name as it is written in a query.
fn ident(name: &str) -> ObjectNamePart {
    let plain = !quoted(name).starts_with('"');
    ObjectNamePart::Identifier(if plain { Ident::new(name) } else { Ident::with_quote('"', name) })
}

/// See the module. `renamed` has the objects that stand before the query under other names.
pub(super) fn qualified(
    catalog: &Catalog,
    stored: Stored<'_>,
    path: &[String],
    renamed: &BTreeMap<u32, String>,
) -> String {
    let Ok(mut query) = parse_query(stored.text) else { return stored.text.into() };
    let mut settings = SessionSettings::new("");
    stored.settings.iter().for_each(|(name, value)| settings.put(name, value));
    let its_path = settings.search_path();
    let withs = withs(&query);
    let mut changed = false;
    walk_mut(&mut query, &mut |node| {
        let NodeMut::Relation(name) = node else { return };
        let Some((schema, own)) = folded(name) else { return };
        if schema.is_none() && withs.contains(&own) {
            return;
        }
        let Some(object) = stored.find(catalog, &its_path, (schema.as_deref(), &own)) else { return };
        let meant = match renamed.get(&object.oid) {
            Some(alias) => (None, alias),
            None if schema.is_none() && catalog.is_visible(object, path) => (None, &object.name),
            None => (Some(&object.schema), &object.name),
        };
        if (schema.as_ref(), &own) != meant {
            name.0 = meant.0.into_iter().chain([meant.1]).map(|part| ident(part)).collect();
            changed = true;
        }
    });
    if changed { query.to_string() } else { stored.text.into() }
}
