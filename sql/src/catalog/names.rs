//! Near names: what somebody who mistyped a name may have meant.

use thalweg_dataflow::error::Error;

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
