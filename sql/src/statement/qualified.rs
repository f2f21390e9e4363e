//! A stored query's text with the schema before every relation's name: what it means under any
//! search path.
//!
//! Leaves names of WITH queries alone. Writes the text anew, so that its layout is not kept.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Ident, ObjectName, ObjectNamePart, Query, Visit, Visitor, visit_relations_mut};

use super::resolve::folded;
use crate::catalog::{Catalog, PUBLIC};
use crate::parser::parse_query;

/// The names of WITH queries.
#[derive(Default)]
struct Withs(BTreeSet<String>);

impl Visitor for Withs {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let named = query.with.iter().flat_map(|with| &with.cte_tables);
        let names = named.filter_map(|cte| folded(&ObjectName::from(vec![cte.alias.name.clone()])));
        self.0.extend(names.map(|(_, name)| name));
        ControlFlow::Continue(())
    }
}

/// See the module; the text itself if it is no query.
pub(crate) fn qualified(catalog: &Catalog, text: &str) -> String {
    let Ok(mut query) = parse_query(text) else { return text.into() };
    let mut withs = Withs::default();
    let _ = query.visit(&mut withs);
    let _ = visit_relations_mut(&mut query, |name| {
        if let Some((None, own)) = folded(name)
            && !withs.0.contains(&own)
            && catalog.find(Some(PUBLIC), &own, &[]).is_some()
        {
            name.0.insert(0, ObjectNamePart::Identifier(Ident::new(PUBLIC)));
        }
        ControlFlow::<()>::Continue(())
    });
    query.to_string()
}
