//! string_agg of bytea, as that of its digits.

use thalweg_dataflow::Result;
use thalweg_dataflow::types::PgType;

use super::binder::Binder;
use super::call::text;
use super::expr::Cast;
use super::typed::Typed;

impl Binder<'_> {
    /// Bytes as hexadecimal digits and back: joined and sorted, the digits are those of the bytes.
    pub(super) fn through_digits(&self, function: &str, values: Vec<Typed>) -> Result<Vec<Typed>> {
        let digits = |value: Typed| {
            let value = if value.ty.is_none() { self.coerce(value, &PgType::Bytea, Cast::Implicit)? } else { value };
            self.call_by_name(function, vec![value, text("hex")])
        };
        values.into_iter().map(digits).collect()
    }
}

/// Whether the arguments of string_agg are bytea.
pub(super) fn are_bytes(args: &[Typed]) -> bool {
    args.iter().any(|arg| arg.ty == Some(PgType::Bytea))
        && args.iter().all(|arg| matches!(arg.ty, None | Some(PgType::Bytea)))
}
