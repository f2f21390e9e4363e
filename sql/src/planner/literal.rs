//! Literals with their types before them: `date '2019-11-01'`.

use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast;
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::Binder;
use super::expr::Cast;
use super::system;
use super::typed::Typed;

impl Binder<'_> {
    /// `date '2019-11-01'`.
    pub(super) fn typed_string(&self, typed: &ast::TypedString) -> Result<Typed> {
        let text = typed.value.value.clone().into_string().ok_or_else(|| {
            Error::new(SqlState::SyntaxError, "a type name before a literal needs a literal in quotes")
        })?;
        let text = Typed::unknown(Some(text));
        match system::reg_type(&typed.data_type) {
            Some(name) => self.reg_cast(text, name),
            None => {
                // `char 'abc'` is not cut, unlike `'abc'::char`.
                let ty = match &typed.data_type {
                    ast::DataType::Char(None) | ast::DataType::Character(None) => PgType::Bpchar(None),
                    other => self.data_type(other)?,
                };
                self.with_digits(self.coerce(text, &ty, Cast::Explicit)?, &typed.data_type)
            }
        }
    }

    /// A value to as many digits of the second as its type says.
    pub(super) fn with_digits(&self, value: Typed, data_type: &ast::DataType) -> Result<Typed> {
        use ast::DataType as D;
        let (digits, name) = match (data_type, &value.ty) {
            (D::Timestamp(Some(digits), _), Some(PgType::Timestamp)) => (digits, "timestamp"),
            (D::Timestamp(Some(digits), _), Some(PgType::Timestamptz)) => (digits, "timestamptz"),
            (D::Interval { precision: Some(digits), .. }, Some(PgType::Interval)) => (digits, "interval"),
            _ => return Ok(value),
        };
        let place = value.at;
        let digits = ScalarValue::Int32(Some(i32::try_from(*digits).unwrap_or(6)));
        Ok(self.call_by_name(name, vec![value, Typed::constant(digits, PgType::Int4)])?.at(place))
    }
}
