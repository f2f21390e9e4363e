//! Names in messages: with their schema where the search path does not find them, and near ones for
//! somebody who mistyped one.

use thalweg_dataflow::error::Error;

use super::{Catalog, Object};

impl Catalog {
    /// Whether a name without a schema means this object.
    pub(crate) fn is_visible(&self, object: &Object, path: &[String]) -> bool {
        self.find(None, &object.name, path).is_some_and(|found| found.oid == object.oid)
    }

    /// The name of an object, behind its schema's if it is not found without.
    pub(crate) fn full_name(&self, object: &Object, path: &[String]) -> String {
        match self.is_visible(object, path) {
            true => object.name.clone(),
            false => format!("{}.{}", object.schema, object.name),
        }
    }

    /// An object as messages name it: `table s.t`.
    pub(crate) fn spoken(&self, object: &Object, path: &[String]) -> String {
        format!("{} {}", object.kind().word(), self.full_name(object, path))
    }
}

/// The candidate nearest to a name, if one is near enough to be a slip.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (name.chars().count() / 3).clamp(1, 3);
    candidates
        .map(|candidate| (strsim::osa_distance(name, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Adds `Perhaps you meant ...` to an error about a name.
pub(crate) fn did_you_mean<'a>(
    error: Error,
    kind: &str,
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Error {
    match nearest(name, candidates) {
        Some(near) => error.hint(format!("Perhaps you meant the {kind} \"{near}\".")),
        None => error,
    }
}
