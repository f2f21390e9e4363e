//! Walks over the names, expressions and queries of a parsed statement.
//!
//! One type of visitor for all that is looked for: sqlparser's own functions are compiled anew, by the
//! thousand, for each closure that they are given. Nodes are met before what they hold, in the
//! order of the text.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, ObjectName, Query, Select, Visit, VisitMut, Visitor, VisitorMut};

/// What a walk meets.
pub(crate) enum Node<'a> {
    Query(&'a Query),
    /// A name that stands where a relation stands, of a WITH query too.
    Relation(&'a ObjectName),
    Expr(&'a Expr),
}

/// What a walk that changes meets.
pub(crate) enum NodeMut<'a> {
    Query(&'a mut Query),
    Select(&'a mut Select),
    Relation(&'a mut ObjectName),
    Expr(&'a mut Expr),
}

/// Whether to go on.
pub(crate) type Flow = ControlFlow<()>;

/// Goes on.
pub(crate) const ON: Flow = ControlFlow::Continue(());

/// Calls `each` for every node until it breaks off.
pub(crate) fn walk(tree: &impl Visit, each: &mut dyn FnMut(Node<'_>) -> Flow) -> Flow {
    tree.visit(&mut Walk(each))
}

/// Calls `each` for every relation's name.
pub(crate) fn relations(tree: &impl Visit, each: &mut dyn FnMut(&ObjectName)) {
    let _ = walk(tree, &mut |node| {
        if let Node::Relation(name) = node {
            each(name);
        }
        ON
    });
}

/// Whether an expression among the tree's is what is looked for.
pub(crate) fn any_expr(tree: &impl Visit, wanted: &mut dyn FnMut(&Expr) -> bool) -> bool {
    let found = walk(tree, &mut |node| match node {
        Node::Expr(expr) if wanted(expr) => ControlFlow::Break(()),
        _ => ON,
    });
    found.is_break()
}

/// As [`walk`], to change the nodes.
pub(crate) fn walk_mut(tree: &mut impl VisitMut, each: &mut dyn FnMut(NodeMut<'_>)) {
    let _ = tree.visit(&mut WalkMut(each));
}

struct Walk<'e>(&'e mut dyn FnMut(Node<'_>) -> Flow);

impl Visitor for Walk<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> Flow {
        (self.0)(Node::Query(query))
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> Flow {
        (self.0)(Node::Relation(name))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> Flow {
        (self.0)(Node::Expr(expr))
    }
}

struct WalkMut<'e>(&'e mut dyn FnMut(NodeMut<'_>));

impl VisitorMut for WalkMut<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> Flow {
        (self.0)(NodeMut::Query(query));
        ON
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> Flow {
        (self.0)(NodeMut::Select(select));
        ON
    }

    fn pre_visit_relation(&mut self, name: &mut ObjectName) -> Flow {
        (self.0)(NodeMut::Relation(name));
        ON
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> Flow {
        (self.0)(NodeMut::Expr(expr));
        ON
    }
}
