//! Functions that stand for something else: for an operator (`int4pl`, `texteq`), as PostgreSQL's own list
//! of operators says, or for a cast (`date(x)`, `int8(x)`).

use std::collections::BTreeMap;
use std::sync::OnceLock;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int32Type;
use arrow::record_batch::RecordBatch;
use datafusion_pg_catalog::pg_catalog::PgCatalogStaticTables;
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Result, SqlState};

use super::binder::Binder;
use super::expr::Cast;
use super::functions;
use super::operator::named_operator;
use super::typed::Typed;

/// What a function computes.
#[derive(Debug)]
struct Operator {
    symbol: String,
    /// The types of its operands; one if it stands before its operand.
    operands: Vec<PgType>,
}

/// The operators by the name of their function.
fn all() -> &'static BTreeMap<String, Vec<Operator>> {
    static ALL: OnceLock<BTreeMap<String, Vec<Operator>>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all: BTreeMap<String, Vec<Operator>> = BTreeMap::new();
        let Ok(tables) = PgCatalogStaticTables::try_new() else { return all };
        for batch in tables.pg_operator.data() {
            for (function, operator) in (0..batch.num_rows()).filter_map(|row| operator(batch, row)) {
                all.entry(function).or_default().push(operator);
            }
        }
        all
    })
}

fn operator(batch: &RecordBatch, row: usize) -> Option<(String, Operator)> {
    let text = |name: &str| {
        let column = batch.column_by_name(name)?.as_string_opt::<i32>()?;
        column.is_valid(row).then(|| column.value(row).to_string())
    };
    let operand = |name: &str| Some(batch.column_by_name(name)?.as_primitive_opt::<Int32Type>()?.value(row));
    let (left, right) = (operand("oprleft")?, operand("oprright")?);
    let operands = [left, right].into_iter().filter(|oid| *oid != 0);
    let operands = operands.map(|oid| PgType::from_oid(u32::try_from(oid).ok()?)).collect::<Option<Vec<_>>>()?;
    // Where a name has several overloads it stands with its schema.
    let function = text("oprcode")?;
    let function = function.strip_prefix("pg_catalog.").map_or(function.clone(), str::to_string);
    Some((function, Operator { symbol: text("oprname")?, operands }))
}

impl Binder<'_> {
    /// A call of a function that stands for an operator or a cast; `None`: it is none.
    pub(super) fn as_stand_in(&self, name: &str, args: &[Typed]) -> Result<Option<Typed>> {
        if let Some(result) = self.operator_function(name, args)? {
            return Ok(Some(result));
        }
        match (args, PgType::parse(name)) {
            ([value], Some(ty)) => match self.coerce(value.clone(), &ty.base(), Cast::Explicit) {
                Err(error) if error.state() == SqlState::CannotCoerce => Ok(None),
                other => other.map(Some),
            },
            _ => Ok(None),
        }
    }

    fn operator_function(&self, name: &str, args: &[Typed]) -> Result<Option<Typed>> {
        let Some(known) = all().get(name) else { return Ok(None) };
        let fitting = known.iter().filter(|one| one.operands.len() == args.len());
        let candidates = fitting.map(|one| (one, one.operands.as_slice())).collect();
        let types: Vec<Option<&PgType>> = args.iter().map(|arg| arg.ty.as_ref()).collect();
        let chosen = functions::choose(candidates, &types).map_err(|several| match several {
            true => functions::ambiguous(name, args),
            false => functions::no_function(name, args),
        })?;
        let operands = args.iter().zip(&chosen.operands).map(|(arg, ty)| self.coerce(arg.clone(), ty, Cast::Implicit));
        let mut operands = operands.collect::<Result<Vec<_>>>()?.into_iter();
        match (operands.next(), operands.next(), chosen.symbol.as_str()) {
            (Some(left), Some(right), symbol) => match named_operator(symbol) {
                Some(op) => self.operate(&op, left, right).map(Some),
                None => Ok(None),
            },
            (Some(only), None, "-") => self.negate(only).map(Some),
            (Some(only), None, "+") => Ok(Some(only)),
            (Some(only), None, "@") => self.call_by_name("abs", vec![only]).map(Some),
            _ => Ok(None),
        }
    }
}
