//! A stored query's text with the schema before every relation's name: what it means under any
//! search path.
//!
//! Leaves names of WITH queries alone. Writes the text anew, so that its layout is not kept.

use std::collections::BTreeSet;

use datafusion::sql::sqlparser::ast::{Ident, ObjectName, ObjectNamePart, Query};

use super::resolve::folded;
use crate::catalog::{Catalog, PUBLIC};
use crate::parser::parse_query;
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

/// See the module; the text itself if it is no query.
pub(crate) fn qualified(catalog: &Catalog, text: &str) -> String {
    let Ok(mut query) = parse_query(text) else { return text.into() };
    let withs = withs(&query);
    walk_mut(&mut query, &mut |node| {
        if let NodeMut::Relation(name) = node
            && let Some((None, own)) = folded(name)
            && !withs.contains(&own)
            && catalog.find(Some(PUBLIC), &own, &[]).is_some()
        {
            name.0.insert(0, ObjectNamePart::Identifier(Ident::new(PUBLIC)));
        }
    });
    query.to_string()
}
