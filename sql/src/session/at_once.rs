//! Queries of few rows whose plan is known: answered here and now, by the task that asks.
//!
//! Nothing is awaited, so there is nothing to cancel or to time. Promises: the answer is that of
//! [`Session::execute`], which takes whatever is not answered here.

use datafusion::scalar::ScalarValue;
use thalweg_dataflow::error::Result;

use super::{Outcome, Prepared, RowsTag, Session};
use crate::batch::looked_up;
use crate::parser::Kind;
use crate::statement::one_batch;

impl Session {
    /// The answer, if it can be had at once.
    pub fn at_once(&mut self, prepared: &Prepared, parameters: &[ScalarValue]) -> Option<Result<Outcome>> {
        let kind @ Kind::Query(_) = prepared.statement.kind() else { return None };
        self.take_asked();
        self.settle_locks();
        if self.locks.all().has_access_exclusive() {
            // It may have to wait.
            return None;
        }
        let pinned = self.shared().and_then(|shared| shared.view.as_ref());
        let published = pinned.map_or_else(|| self.database.published(), |view| view.published.clone());
        let meaning = self.meaning(&published);
        let bound = self.database.0.plans.last(&prepared.plan, &published, &meaning)?;
        bound.kept.lookup.get()?;
        if let Err(error) = self.admit(kind) {
            return Some(Err(self.fail(error)));
        }
        self.runs(&prepared.statement);
        // What ran before is not to be cancelled any more.
        *self.running.lock() = None;
        let view = self.view();
        if !std::sync::Arc::ptr_eq(&view.published, &published) {
            return None;
        }
        match looked_up(&bound, parameters, &view).transpose()? {
            Ok(rows) => {
                let schema = bound.schema.clone();
                Some(Ok(Outcome::Rows { rows: one_batch(schema.clone(), rows), schema, tag: RowsTag::Select }))
            }
            Err(error) => Some(Err(self.fail(error))),
        }
    }
}
