//! What an error is about, made whole: the engine knows tables and constraints, but no schemas.

use thalweg_dataflow::error::{Error, Subject};

use super::Session;
use crate::catalog::Object;

impl Session {
    /// The error with the schema of the table that it is about, if there is one table that it may be.
    pub(super) fn with_schema(&self, error: Error) -> Error {
        let Subject { schema: None, table: Some(table), constraint: Some(constraint), .. } = error.subject() else {
            return error;
        };
        let published = self.database.published();
        let has = |object: &&Object| {
            let constraints = object.table().into_iter().flat_map(|table| &table.constraints);
            constraints.map(|known| &known.name).any(|name| name == constraint)
                || object.indexes().iter().any(|index| index.name == *constraint)
        };
        let named: Vec<&Object> = published.catalog.objects().filter(|object| object.name == *table).collect();
        // One that is being made is not there yet.
        let found: Vec<&Object> = named.iter().copied().filter(has).collect();
        match (named.as_slice(), found.as_slice()) {
            ([only], _) | (_, [only]) => {
                let subject = Subject { constraint: Some(constraint.clone()), ..only.subject() };
                error.about(subject)
            }
            _ => error,
        }
    }
}
