//! Calls over frames that DataFusion has not: those that leave rows out, and by RANGE over
//! unconstrained numerics and times of day; of array_agg, those that begin at some row; nth_value with a number of its own for each row;
//! and bounds that are computed.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Expr, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition, WindowUDF,
};
use datafusion::sql::sqlparser::ast;
use thalweg_dataflow::Result;
use thalweg_dataflow::types::PgType;

use super::binder::{Binder, Env};
use super::functions::frame::{Exclusion, Measured};
use super::functions::framed::{Framed, Of};

/// What a window says of its frames besides their kind and bounds.
pub(super) struct Frame<'a> {
    pub(super) spec: &'a ast::WindowSpec,
    pub(super) exclusion: Exclusion,
    /// The distances of its bounds that are computed.
    pub(super) bounds: [Option<Expr>; 2],
}

impl Binder<'_> {
    /// The call, over frames of our own where it needs them; `carried`: the type of its result.
    pub(super) fn framed(
        &self,
        env: &Env<'_>,
        written: Frame<'_>,
        mut call: WindowFunction,
        carried: &PgType,
    ) -> Result<WindowFunction> {
        let Frame { spec, exclusion, bounds } = written;
        let computed = [bounds[0].is_some(), bounds[1].is_some()];
        let ordered = !call.params.order_by.is_empty();
        let whole = WindowFrame::new(ordered.then_some(false));
        let args = &call.params.args;
        let constant = |place: usize| args.get(place).is_none_or(|arg| matches!(arg, Expr::Literal(..)));
        let known = match call.fun.name() {
            "lag" | "lead" => constant(1) && constant(2),
            "ntile" => args.first().is_some_and(is_number),
            _ => true,
        };
        let Some(of) = of_frames(&call.fun, known) else {
            // What looks at whole partitions.
            call.params.window_frame = whole;
            return Ok(call);
        };
        let frame = &call.params.window_frame;
        let measured = match (offsets(frame).next(), &spec.order_by[..]) {
            (Some(ScalarValue::Binary(_)), _) => true,
            (Some(ScalarValue::IntervalMonthDayNano(_)), [item]) => {
                matches!(self.settled(self.expr(env, &item.expr)?)?.ty, Some(PgType::Time(_)))
            }
            _ => false,
        };
        let numbered = matches!(of, Of::Nth) && !call.params.args.get(1).is_some_and(is_number);
        // What collects values cannot give the first ones back.
        let slides = !matches!(&frame.start_bound, WindowFrameBound::Preceding(by) if by.is_null());
        let collects = slides
            && matches!(&call.fun, WindowFunctionDefinition::AggregateUDF(function) if function.name() == "array_agg");
        let own_kind = exclusion != Exclusion::Nothing || computed.contains(&true);
        if !own_kind && !measured && !collects && !numbered && known {
            return Ok(call);
        }
        let own = call.params.args.len();
        let filter = call.params.filter.take();
        let filtered = filter.is_some();
        call.params.args.extend(filter.map(|filter| *filter));
        let mut measured = None;
        if let (WindowFrameUnits::Range, Some(_), [item]) = (frame.units, offsets(frame).next(), &spec.order_by[..]) {
            let value = self.settled(self.expr(env, &item.expr)?)?;
            let descending = item.options.asc == Some(false);
            let ty = value.ty.unwrap_or(PgType::Text);
            measured = Some(Measured { ty, descending, zone: self.settings.zone.clone() });
            call.params.args.push(value.expr);
        }
        call.params.args.extend(bounds.into_iter().flatten());
        let keys: Vec<Expr> = call.params.order_by.iter().map(|by| by.expr.clone()).collect();
        call.params.args.extend(keys);
        let frame = std::mem::replace(&mut call.params.window_frame, whole);
        let framed = Framed::new(of, own, filtered, measured, frame, exclusion, carried.clone()).bounded(computed);
        call.fun = WindowFunctionDefinition::WindowUDF(Arc::new(WindowUDF::from(framed)));
        Ok(call)
    }
}

/// What a function computes of a frame; `None`: it looks at no frame.
///
/// `known`: whether DataFusion takes the arguments of those that look at none.
fn of_frames(function: &WindowFunctionDefinition, known: bool) -> Option<Of> {
    match function {
        WindowFunctionDefinition::AggregateUDF(function) => Some(Of::Aggregate(function.clone())),
        WindowFunctionDefinition::WindowUDF(function) => match function.name() {
            "first_value" => Some(Of::First),
            "last_value" => Some(Of::Last),
            "nth_value" => Some(Of::Nth),
            "lag" if !known => Some(Of::Lag),
            "lead" if !known => Some(Of::Lead),
            "ntile" if !known => Some(Of::Ntile),
            _ => None,
        },
    }
}

/// The distances of a frame's bounds.
fn offsets(frame: &WindowFrame) -> impl Iterator<Item = &ScalarValue> {
    [&frame.start_bound, &frame.end_bound].into_iter().filter_map(|bound| match bound {
        WindowFrameBound::Preceding(by) | WindowFrameBound::Following(by) if !by.is_null() => Some(by),
        _ => None,
    })
}

/// Whether this is a number that DataFusion takes for nth_value.
fn is_number(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::Int64(Some(1..)), _))
}
