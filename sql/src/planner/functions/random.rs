//! Functions that give another value in every row and every time.
//!
//! The binder refuses them in materialized views, whose rows must come out the same when they are computed
//! again.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, ScalarUDF, Signature, Volatility};
use thalweg_dataflow::types::{PgType, Zone};

use super::super::typed::Typed;
use super::udf::{Kernel, PgFunction};

fn volatile(name: &str, result: PgType, kernel: Kernel) -> Typed {
    let function = PgFunction::new(name, Vec::new(), result.clone(), Zone::default(), kernel);
    let function = PgFunction { signature: Signature::user_defined(Volatility::Volatile), ..function };
    let call = ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(function)), Vec::new());
    Typed::new(Expr::ScalarFunction(call), result)
}

/// `gen_random_uuid()`: version 4.
pub(crate) fn uuid() -> Typed {
    let kernel: Kernel = |input| {
        let mut bytes = vec![0; input.rows * 16];
        crate::roles::verifier::random(&mut bytes)?;
        let mut column = BinaryBuilder::with_capacity(input.rows, bytes.len());
        let (uuids, _) = bytes.as_chunks_mut::<16>();
        for uuid in uuids {
            uuid[6] = (uuid[6] & 0x0F) | 0x40;
            uuid[8] = (uuid[8] & 0x3F) | 0x80;
            column.append_value(uuid);
        }
        Ok(Arc::new(column.finish()) as ArrayRef)
    };
    volatile("gen_random_uuid", PgType::Uuid, kernel)
}
