//! What the batch engine has made of a bound query, kept with it for the next time.

use std::sync::{Arc, OnceLock};

use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use parking_lot::Mutex;

use crate::batch::Lookup;

/// Plans that depend on nothing but the query.
#[derive(Debug, Default)]
pub(crate) struct KeptPlans {
    /// The optimised plan, with its parameters open.
    pub(crate) optimized: OnceLock<LogicalPlan>,
    /// The physical plan of a query without parameters, over no snapshot.
    pub(crate) physical: Mutex<Option<Arc<dyn ExecutionPlan>>>,
    /// The lookup that it is, if it is one.
    pub(crate) lookup: OnceLock<Arc<Lookup>>,
}
