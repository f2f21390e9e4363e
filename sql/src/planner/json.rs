//! json and jsonb in expressions: operators, subscripts and the calls whose types are not fixed.

use datafusion::logical_expr::Expr;
use datafusion::sql::sqlparser::ast::{AccessExpr, BinaryOperator, Subscript};
use thalweg_dataflow::types::{PgType, Zone};
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::{Binder, Env};
use super::expr::Cast;
use super::functions::udf::{Kernel, PgFunction};
use super::functions::{self, arrays, json};
use super::operator::no_operator;
use super::typed::{Category, Typed, category};

/// What an aggregate over JSON collects, and what it makes of that.
pub(super) struct Collected {
    args: Vec<Typed>,
    kernel: Kernel,
    result: PgType,
}

/// Whether an aggregate makes a document.
pub(super) fn is_json_aggregate(name: &str) -> bool {
    matches!(name, "json_agg" | "jsonb_agg" | "json_object_agg" | "jsonb_object_agg")
}

fn is_json(typed: &Typed) -> bool {
    matches!(typed.ty, Some(PgType::Json | PgType::Jsonb))
}

impl Binder<'_> {
    /// An operator over json or jsonb; `None`: it is none.
    pub(super) fn json_operator(&self, op: &BinaryOperator, left: &Typed, right: &Typed) -> Result<Option<Typed>> {
        use BinaryOperator as B;
        let jsonb = |typed: &Typed| typed.ty == Some(PgType::Jsonb);
        let own = match op {
            B::Arrow | B::LongArrow | B::HashArrow | B::HashLongArrow | B::HashMinus => true,
            B::Question | B::QuestionAnd | B::QuestionPipe => true,
            B::AtQuestion | B::AtAt => jsonb(left),
            B::AtArrow | B::ArrowAt => is_json(left) || is_json(right),
            B::Minus => jsonb(left),
            // Beside a text, a document is text.
            B::StringConcat => match (&left.ty, &right.ty) {
                (Some(PgType::Jsonb), None) | (None, Some(PgType::Jsonb)) => true,
                _ => jsonb(left) && jsonb(right),
            },
            _ => false,
        };
        if !own {
            return Ok(None);
        }
        let symbol = op.to_string();
        let args = vec![left.clone(), right.clone()];
        self.call_by_name(&symbol, args).map(Some).map_err(|error| match error.state() {
            SqlState::UndefinedFunction => no_operator(&symbol, left, right),
            _ => error,
        })
    }

    /// A call whose arguments may be of any type; `None`: it is none.
    pub(super) fn json_function(&self, name: &str, args: &[Typed]) -> Result<Option<Typed>> {
        match (name, args) {
            ("row_to_json", [row]) if row.ty == Some(PgType::Record) => {
                self.json_call(name, vec![(row.expr.clone(), PgType::Record)], PgType::Json, json::TO_JSON).map(Some)
            }
            ("array_to_json", [value]) if value.ty.as_ref().is_some_and(|ty| ty.element().is_some()) => {
                self.json_function("to_json", args)
            }
            ("array_to_json" | "row_to_json", [value, pretty]) => {
                let Some(document) = self.json_function(name, std::slice::from_ref(value))? else {
                    return Err(functions::no_function(name, args));
                };
                let pretty = self.coerce(pretty.clone(), &PgType::Bool, Cast::Implicit)?;
                let parts = vec![(document.expr, PgType::Json), (pretty.expr, PgType::Bool)];
                self.json_call(name, parts, PgType::Json, json::LINES).map(Some)
            }
            ("to_json" | "to_jsonb", [value]) => {
                let Some(ty) = value.ty.clone() else {
                    let message = "could not determine polymorphic type because input has type unknown";
                    return Err(Error::new(SqlState::DatatypeMismatch, message));
                };
                let result = if name == "to_json" { PgType::Json } else { PgType::Jsonb };
                self.json_call(name, vec![(value.expr.clone(), ty)], result, json::TO_JSON).map(Some)
            }
            (
                "json_extract_path" | "jsonb_extract_path" | "json_extract_path_text" | "jsonb_extract_path_text",
                [document, steps @ ..],
            ) if !steps.is_empty() => {
                let of = if name.starts_with("jsonb") { PgType::Jsonb } else { PgType::Json };
                let document = match self.coerce(document.clone(), &of, Cast::Implicit) {
                    Err(error) if error.state() == SqlState::CannotCoerce => {
                        return Err(functions::no_function(name, args));
                    }
                    other => other?,
                };
                let symbol = if name.ends_with("_text") { "#>>" } else { "#>" };
                let path = self.text_path(steps.to_vec())?;
                self.call_by_name(symbol, vec![document, path]).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn json_call(&self, name: &str, args: Vec<(Expr, PgType)>, result: PgType, kernel: Kernel) -> Result<Typed> {
        let (exprs, types) = args.into_iter().unzip();
        let zone = Zone::parse(&self.settings.zone)?;
        let function = PgFunction::new(name, types, result.clone(), zone, kernel);
        Ok(Typed::new(functions::evaluated(function, exprs), result))
    }

    /// Texts as an array of them.
    fn text_path(&self, steps: Vec<Typed>) -> Result<Typed> {
        let steps = steps.into_iter().map(|step| self.coerce(step, &PgType::Text, Cast::Explicit));
        let steps = steps.collect::<Result<Vec<_>>>()?;
        let steps = steps.into_iter().map(|step| (step.expr, PgType::Text)).collect();
        self.json_call("array", steps, PgType::Text.array(), arrays::CONSTRUCT)
    }

    /// `jsonb['key'][1]`; `None`: it is no jsonb.
    pub(super) fn json_subscripts(&self, env: &Env<'_>, root: &Typed, chain: &[AccessExpr]) -> Result<Option<Typed>> {
        if root.ty != Some(PgType::Jsonb) {
            return Ok(None);
        }
        let mismatch = |message: String| Error::new(SqlState::DatatypeMismatch, message);
        let mut steps = Vec::with_capacity(chain.len());
        for access in chain {
            let AccessExpr::Subscript(Subscript::Index { index }) = access else {
                return Err(match access {
                    AccessExpr::Subscript(_) => mismatch("jsonb subscript does not support slices".into()),
                    AccessExpr::Dot(_) => Error::unsupported("a field of a value"),
                });
            };
            let step = self.expr(env, index)?;
            let fits = match &step.ty {
                None | Some(PgType::Int2 | PgType::Int4) => true,
                Some(other) => category(other) == Category::Text,
            };
            if !fits {
                return Err(mismatch(format!("subscript type {} is not supported", step.type_name()))
                    .hint("jsonb subscript must be coercible to either integer or text."));
            }
            steps.push(step);
        }
        let path = self.text_path(steps)?;
        self.call_by_name("#>", vec![root.clone(), path]).map(Some)
    }

    /// The aggregate that is computed for one that makes a document, its arguments, and what is made of its result.
    pub(super) fn collecting<'n>(
        &self,
        name: &'n str,
        args: Vec<Typed>,
        distinct: bool,
    ) -> Result<(&'n str, Vec<Typed>, Option<Collected>)> {
        if !is_json_aggregate(name) {
            return Ok((name, args, None));
        }
        let mut collected = self.collected(name, args, distinct)?;
        let args = std::mem::take(&mut collected.args);
        Ok(("array_agg", args, Some(collected)))
    }

    /// What an aggregate that makes a document collects by array_agg.
    fn collected(&self, name: &str, args: Vec<Typed>, distinct: bool) -> Result<Collected> {
        let result = if name.starts_with("jsonb") { PgType::Jsonb } else { PgType::Json };
        let args = args.into_iter().map(|arg| self.settled(arg)).collect::<Result<Vec<_>>>()?;
        match (name, args.as_slice()) {
            ("json_agg" | "jsonb_agg", [value]) => {
                // There are no arrays of arrays; rows are set apart as arrays are.
                let nested = value.ty.as_ref().is_some_and(|ty| ty.element().is_some() || *ty == PgType::Record);
                let args = if nested { vec![self.call_by_name("to_json", args)?] } else { args };
                let kernel = if nested { json::COLLECTED_ARRAYS } else { json::COLLECTED };
                Ok(Collected { args, kernel, result })
            }
            ("json_object_agg" | "jsonb_object_agg", [key, value]) => {
                if distinct {
                    return Err(Error::unsupported(format!("DISTINCT in {name}")));
                }
                let ty = |typed: &Typed| typed.ty.clone().unwrap_or(PgType::Text);
                let pair = vec![(key.expr.clone(), ty(key)), (value.expr.clone(), ty(value))];
                let pair = self.json_call("json_field", pair, PgType::Text, json::PAIR)?;
                Ok(Collected { args: vec![pair], kernel: json::PAIRS, result })
            }
            _ => Err(functions::no_function(name, &args)),
        }
    }

    /// The document of what was collected.
    pub(super) fn document(&self, name: &str, collected: Option<Collected>, array: Typed) -> Result<Typed> {
        let Some(collected) = collected else { return Ok(array) };
        let ty = array.ty.unwrap_or(PgType::Array(&PgType::Text));
        self.json_call(name, vec![(array.expr, ty)], collected.result, collected.kernel)
    }
}
