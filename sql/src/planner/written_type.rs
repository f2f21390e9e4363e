//! Types as SQL writes them.

use datafusion::sql::sqlparser::ast;
use thalweg_dataflow::Result;
use thalweg_dataflow::types::PgType;

use super::binder::{Binder, name_parts};
use crate::parser::refused_type;

impl Binder<'_> {
    /// A type as SQL writes it.
    pub(crate) fn data_type(&self, data_type: &ast::DataType) -> Result<PgType> {
        use ast::DataType as D;
        let known = match data_type {
            D::Timestamp(_, ast::TimezoneInfo::WithTimeZone | ast::TimezoneInfo::Tz) => Some(PgType::Timestamptz),
            D::Timestamp(..) => Some(PgType::Timestamp),
            D::Interval { .. } => Some(PgType::Interval),
            D::Float(ast::ExactNumberInfo::Precision(1..=24)) => Some(PgType::Float4),
            D::Float(_) => Some(PgType::Float8),
            D::Varchar(None) | D::CharacterVarying(None) => Some(PgType::Varchar(None)),
            D::Custom(name, modifiers) => {
                let own = name_parts(name)?.pop().unwrap_or_default();
                match own.as_str() {
                    "name" | "char" | "regprocedure" | "regoper" | "regoperator" | "regconfig" | "regdictionary"
                    | "regcollation" | "sql_identifier" | "character_data" | "yes_or_no" | "pg_node_tree" => {
                        Some(PgType::Text)
                    }
                    "cardinal_number" => Some(PgType::Int4),
                    "xid" => Some(PgType::Oid),
                    _ if modifiers.is_empty() => PgType::parse(&own),
                    _ => PgType::parse(&format!("{own}({})", modifiers.join(","))),
                }
            }
            D::Array(ast::ArrayElemTypeDef::SquareBracket(element, _)) => Some(self.data_type(element)?.array()),
            other => PgType::parse(&other.to_string()),
        };
        known.ok_or_else(|| refused_type(&data_type.to_string(), &[]))
    }
}
