//! Calls: scalar functions, the constructs written like calls, and aggregates.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Expr, SortExpr};
use datafusion::sql::sqlparser::ast::{self, DuplicateTreatment, FunctionArg, FunctionArgExpr, FunctionArguments};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::{Binder, Env, at, name_parts};
use super::expr::Cast;
use super::functions::{self, aggregates, extreme_key, joined_by};
use super::query::sort;
use super::row_value::row_call;
use super::typed::{Category, Typed, base_name, category};
use super::{joined_bytes, within_group};

/// Where an aggregate's own argument is bound: another aggregate there is nested.
const NESTED: &str = "an aggregate";

impl Binder<'_> {
    /// The constructs of the syntax tree that are calls in all but form.
    pub(crate) fn special_call(&self, env: &Env<'_>, expr: &ast::Expr) -> Result<Typed> {
        use ast::Expr as E;
        match expr {
            E::Function(function) => self.function(env, function),
            E::Extract { field, expr: inner, .. } => {
                let field = Typed::unknown(Some(field.to_string().trim_matches('\'').to_ascii_lowercase()));
                let inner = self.expr(env, inner)?;
                self.grammar_call("extract", vec![field, inner])
            }
            E::Ceil { expr: inner, field: ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) } => {
                self.call_by_name("ceil", vec![self.expr(env, inner)?])
            }
            E::Floor { expr: inner, field: ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) } => {
                self.call_by_name("floor", vec![self.expr(env, inner)?])
            }
            E::Position { expr: inner, r#in } => {
                self.grammar_call("position", vec![self.expr(env, r#in)?, self.expr(env, inner)?])
            }
            E::Substring { expr: inner, substring_from, substring_for, .. } => {
                self.substring(env, inner, substring_from.as_deref(), substring_for.as_deref())
            }
            E::Overlay { expr: inner, overlay_what, overlay_from, overlay_for } => {
                let mut args =
                    vec![self.expr(env, inner)?, self.expr(env, overlay_what)?, self.expr(env, overlay_from)?];
                if let Some(length) = overlay_for {
                    args.push(self.expr(env, length)?);
                }
                self.grammar_call("overlay", args)
            }
            E::IsNormalized { expr: inner, form, negated } => {
                let form = form.map_or_else(|| "NFC".to_string(), |form| form.to_string());
                let result =
                    self.grammar_call("is_normalized", vec![self.expr(env, inner)?, Typed::unknown(Some(form))])?;
                let expr = if *negated { Expr::Not(Box::new(result.expr)) } else { result.expr };
                Ok(Typed::new(expr, PgType::Bool))
            }
            E::Trim { trim_where, trim_what, expr: inner, trim_characters } => {
                let name = match trim_where {
                    Some(ast::TrimWhereField::Leading) => "ltrim",
                    Some(ast::TrimWhereField::Trailing) => "rtrim",
                    _ => "btrim",
                };
                let mut args = vec![self.expr(env, inner)?];
                if let Some(what) = trim_what {
                    args.push(self.expr(env, what)?);
                }
                for what in trim_characters.iter().flatten() {
                    args.push(self.expr(env, what)?);
                }
                self.grammar_call(name, args)
            }
            E::AtTimeZone { timestamp, time_zone } => {
                self.grammar_call("timezone", vec![self.expr(env, time_zone)?, self.expr(env, timestamp)?])
            }
            E::Tuple(items) => self.row_of(env, &items.iter().collect::<Vec<_>>()),
            other => Err(Error::unsupported(format!("the expression {other}"))),
        }
    }

    /// A call that the grammar makes: errors name its schema.
    fn grammar_call(&self, name: &str, args: Vec<Typed>) -> Result<Typed> {
        self.call_by_name(name, args).map_err(|error| {
            let place = error.position();
            let hint = error.hint_text().map(str::to_string);
            let Some(rest) = error.message().strip_prefix("function ") else { return error };
            let named = Error::new(error.state(), format!("function pg_catalog.{rest}"));
            at(if let Some(hint) = hint { named.hint(hint) } else { named }, place)
        })
    }

    /// `normalize(text, FORM)`: the form is a word, no column.
    fn normalize_call(&self, env: &Env<'_>, list: &ast::FunctionArgumentList) -> Result<Option<Typed>> {
        let [
            FunctionArg::Unnamed(FunctionArgExpr::Expr(text)),
            FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Identifier(form))),
        ] = list.args.as_slice()
        else {
            return Ok(None);
        };
        let form = Typed::unknown(Some(form.value.clone()));
        self.call_by_name("normalize", vec![self.expr(env, text)?, form]).map(Some)
    }

    /// `substring(inner FROM from FOR length)`, and from a pattern with an escape.
    fn substring(
        &self,
        env: &Env<'_>,
        inner: &ast::Expr,
        substring_from: Option<&ast::Expr>,
        substring_for: Option<&ast::Expr>,
    ) -> Result<Typed> {
        let mut args = vec![self.expr(env, inner)?];
        match substring_from {
            Some(from) => args.push(self.expr(env, from)?),
            None => args.push(Typed::constant(ScalarValue::Int32(Some(1)), PgType::Int4)),
        }
        if let Some(length) = substring_for {
            args.push(self.expr(env, length)?);
        }
        let is_text = |arg: &Typed| arg.ty.as_ref().is_none_or(|ty| category(ty) == Category::Text);
        if let [_, pattern, escape] = args.as_mut_slice()
            && is_text(pattern)
            && is_text(escape)
            && substring_from.is_some()
        {
            *pattern = self.call_by_name("similar_to_escape", vec![pattern.clone(), escape.clone()])?;
            args.truncate(2);
        }
        self.call_by_name("substring", args)
    }

    fn function(&self, env: &Env<'_>, function: &ast::Function) -> Result<Typed> {
        if let Some(items) = row_call(function) {
            return self.row_of(env, &items);
        }
        let name = &function_name(&function.name)?;
        if !function.within_group.is_empty() {
            return self.within_group(env, name, function);
        }
        if function.null_treatment.is_some() {
            return Err(Error::unsupported("IGNORE NULLS"));
        }
        let list = match &function.args {
            FunctionArguments::None => {
                return self
                    .keyword_value(name)?
                    .ok_or_else(|| Error::unsupported(format!("{name} without parentheses")));
            }
            FunctionArguments::Subquery(query) if name == "array" => return self.array_of_query(env, query),
            FunctionArguments::Subquery(_) => {
                return Err(Error::unsupported(format!("a query as the argument of {name}")));
            }
            FunctionArguments::List(list) => list,
        };
        if name == "normalize"
            && let Some(call) = self.normalize_call(env, list)?
        {
            return Ok(call);
        }
        if function.over.is_some() {
            return self.window_call(env, name, function, list);
        }
        if aggregates::is_aggregate(name) {
            return self.aggregate_call(env, name, function, list);
        }
        if let Some(error) = within_group::without_within_group(name, list.args.len()) {
            return Err(error);
        }
        if aggregates::is_window_only(name) {
            let message = format!("window function {name} requires an OVER clause");
            return Err(Error::new(SqlState::WrongObjectType, message));
        }
        refuse_aggregate_clauses(name, function, list)?;
        let (args, variadic) = self.call_arguments(env, name, list)?;
        if variadic {
            return self.variadic_call(name, args);
        }
        if name == "grouping" {
            if let Some(clause) = env.no_aggregates {
                let message = match clause {
                    NESTED => "aggregate function calls cannot be nested".to_string(),
                    _ => format!("grouping operations are not allowed in {clause}"),
                };
                return Err(Error::new(SqlState::GroupingError, message));
            }
            let args = args.into_iter().map(|arg| Ok(self.settled(arg)?.expr)).collect::<Result<_>>()?;
            return Ok(Typed::new(functions::grouping(args), PgType::Int4));
        }
        if functions::sets::is_set_returning(name) {
            return self.set_call(env, name, args);
        }
        self.call_by_name(name, args)
    }

    pub(super) fn arguments(&self, env: &Env<'_>, name: &str, list: &ast::FunctionArgumentList) -> Result<Vec<Typed>> {
        list.args
            .iter()
            .map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => self.expr(env, expr),
                FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(table)) => self.table_row(env, table),
                FunctionArg::Unnamed(_) => Err(match self.call_by_name(name, Vec::new()) {
                    Ok(_) => Error::new(
                        SqlState::WrongObjectType,
                        format!("{name}(*) specified, but {name} is not an aggregate function"),
                    ),
                    Err(_) => functions::no_function(name, &[]),
                }),
                _ => Err(Error::unsupported("a named argument")),
            })
            .collect()
    }

    /// A call of a scalar function over bound arguments.
    pub(crate) fn call_by_name(&self, name: &str, args: Vec<Typed>) -> Result<Typed> {
        match (name, args.len()) {
            ("coalesce", 1..) => return self.coalesce(args),
            ("nullif", 2) => return self.null_if(args),
            ("greatest" | "least", 1..) => {
                let (args, ty) = self.unify(args, &name.to_ascii_uppercase())?;
                return functions::extreme(name, args, ty);
            }
            ("pg_column_size", 1) => return self.column_size(args),
            ("like" | "notlike", 2) => return self.like_call(name, args),
            ("quote_literal" | "quote_nullable", 1)
                if args[0].ty.as_ref().is_some_and(|ty| category(ty) != Category::Text) =>
            {
                let text = self.coerce(args[0].clone(), &PgType::Text, Cast::Explicit)?;
                return self.call_by_name(name, vec![text]);
            }
            ("width_bucket", 2) => return self.width_bucket(args),
            ("random" | "gen_random_uuid" | "timeofday" | "clock_timestamp", 0) if self.settings.view => {
                return Err(Error::unsupported(format!("the volatile function {name} in a materialized view")));
            }
            ("gen_random_uuid", 0) => return Ok(functions::random::uuid()),
            ("pi", 0) => {
                let pi = ScalarValue::Float64(Some(std::f64::consts::PI));
                return Ok(Typed::new(super::typed::literal(pi, &PgType::Float8), PgType::Float8));
            }
            // TimescaleDB's: buckets count from a Monday.
            ("time_bucket", 2) => {
                let origin = Typed::unknown(Some("2000-01-03 00:00:00+00".into()));
                return self.call_by_name("date_bin", args.into_iter().chain([origin]).collect());
            }
            ("age", 1) => {
                let today = self.coerce(self.clock("current_date")?, &PgType::Timestamp, Cast::Explicit)?;
                return self.call_by_name(name, [today].into_iter().chain(args).collect());
            }
            ("pg_typeof", 1) => return Ok(text(&args[0].type_name())),
            _ => {}
        }
        if let Some(result) = self.session_call(name, &args)? {
            return Ok(result);
        }
        if let Some(result) = self.json_function(name, &args)? {
            return Ok(result);
        }
        if let Some(result) = self.array_function(name, &args)? {
            return Ok(result);
        }
        if let Some(ty) = functions::sleep::argument(name) {
            return self.sleep(name, &ty, args);
        }
        let args = self.typed_arguments(name, args)?;
        if let Some(result) = self.system_call(name, &args)? {
            return Ok(result);
        }
        let overload = match functions::resolve(name, &args) {
            Err(error) if error.state() == SqlState::UndefinedFunction => {
                return self.as_stand_in(name, &args)?.ok_or(error);
            }
            other => other?,
        };
        let mut exprs = Vec::with_capacity(args.len());
        for (arg, ty) in args.into_iter().zip(&overload.args) {
            exprs.push(self.coerce(arg, ty, Cast::Explicit)?.expr);
        }
        functions::call(overload, exprs, &self.settings.zone)
    }

    fn aggregate_call(
        &self,
        env: &Env<'_>,
        name: &str,
        function: &ast::Function,
        list: &ast::FunctionArgumentList,
    ) -> Result<Typed> {
        let inner = self.within_aggregate(env);
        let distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
        let args = self.aggregate_arguments(&inner, name, list, distinct)?;
        let filter = self.aggregate_filter(&inner, function)?;
        let order_by = self.inner_order(&inner, &list.clauses)?;
        let originals = if distinct { sort_keys(&args)? } else { Vec::new() };
        if distinct && !order_by.iter().all(|by| originals.contains(&by.expr)) {
            let message = "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list";
            return Err(Error::new(SqlState::InvalidColumnReference, message));
        }
        let called = name;
        let bytes = name == "string_agg" && joined_bytes::are_bytes(&args);
        let args = if bytes { self.through_digits("encode", args)? } else { args };
        let (name, args, collected) = self.collecting(name, args, distinct)?;
        if let ("sum" | "avg", true, Some(PgType::Numeric(None))) =
            (name, distinct, args.first().and_then(|arg| arg.ty.as_ref()))
        {
            return self.distinct_numbers(env, name == "avg", args, filter);
        }
        let (func, mut args, ty) = self.aggregate_function(name, args, distinct)?;
        // Distinct values come in their order.
        let order_by = match (name, distinct, args.first()) {
            ("array_agg" | "string_agg", true, Some(arg)) if order_by.is_empty() => vec![arg.clone().sort(true, false)],
            // Texts are sorted by what is joined: char(n) without its spaces.
            ("string_agg", true, Some(_)) => {
                let place = |by: &SortExpr| originals.iter().position(|original| *original == by.expr).unwrap_or(0);
                let sorted = |by: SortExpr| args[place(&by)].clone().sort(by.asc, by.nulls_first);
                order_by.into_iter().map(sorted).collect()
            }
            _ => order_by,
        };
        let (keyed, parted) = (needs_key(name, &ty), joined_by::is_needed(name, &args));
        if keyed {
            args = args.into_iter().map(|arg| extreme_key::key(arg, &ty)).collect();
        } else if parted && distinct {
            return Err(Error::unsupported("string_agg(DISTINCT ...) with a delimiter that varies"));
        } else if parted {
            args = joined_by::packed(args);
        }
        let call = Expr::AggregateFunction(AggregateFunction::new_udf(func, args, distinct, filter, order_by, None));
        let call = self.in_its_query(env, call, &ty)?.expr;
        let value = match (keyed, parted) {
            (true, _) => extreme_key::value(call, &ty),
            (_, true) => joined_by::unpacked(call),
            _ => call,
        };
        let result = Typed::new(value, ty);
        let result = self.document(called, collected, result)?;
        match bytes {
            true => self.through_digits("decode", vec![result])?.pop().ok_or_else(|| Error::internal("no result")),
            false => Ok(result),
        }
    }

    /// What the arguments of an aggregate see.
    pub(super) fn within_aggregate<'e>(&self, env: &Env<'e>) -> Env<'e> {
        Env { no_aggregates: Some(NESTED), no_windows: Some("aggregate function calls"), ..env.clone() }
    }

    /// The FILTER clause of an aggregate.
    pub(super) fn aggregate_filter(&self, env: &Env<'_>, function: &ast::Function) -> Result<Option<Box<Expr>>> {
        let Some(filter) = &function.filter else { return Ok(None) };
        let env = Env { no_aggregates: Some("FILTER"), ..env.clone() };
        Ok(Some(Box::new(self.condition(&env, filter, "FILTER")?)))
    }

    /// An aggregate call where its query wants it.
    pub(super) fn in_its_query(&self, env: &Env<'_>, call: Expr, ty: &PgType) -> Result<Typed> {
        let (call, query) = self.of_its_query(env, call, ty)?;
        if let Some(clause) = query.no_aggregates {
            let message = match clause {
                NESTED => "aggregate function calls cannot be nested".to_string(),
                _ => format!("aggregate functions are not allowed in {clause}"),
            };
            return Err(Error::new(SqlState::GroupingError, message));
        }
        Ok(Typed::new(call, ty.clone()))
    }

    pub(super) fn aggregate_arguments(
        &self,
        env: &Env<'_>,
        name: &str,
        list: &ast::FunctionArgumentList,
        distinct: bool,
    ) -> Result<Vec<Typed>> {
        match list.args.as_slice() {
            [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)] if name == "count" && !distinct => Ok(Vec::new()),
            [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)] if name == "count" => {
                Err(Error::new(SqlState::SyntaxError, "DISTINCT cannot be used with count(*)"))
            }
            [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)] => Err(functions::no_function(name, &[])),
            [] if name == "count" => {
                let error = Error::new(
                    SqlState::WrongObjectType,
                    "count(*) must be used to call a parameterless aggregate function",
                );
                Err(error)
            }
            _ => self.arguments(env, name, list),
        }
    }

    pub(super) fn aggregate_function(
        &self,
        name: &str,
        args: Vec<Typed>,
        distinct: bool,
    ) -> Result<(Arc<datafusion::logical_expr::AggregateUDF>, Vec<Expr>, PgType)> {
        let overload = aggregates::resolve(name, &args)?;
        if distinct && name == "approx_percentile" {
            return Err(Error::unsupported("DISTINCT in approx_percentile"));
        }
        let mut exprs = Vec::with_capacity(args.len());
        for (arg, ty) in args.into_iter().zip(&overload.args) {
            let expr = self.coerce(arg, ty, Cast::Explicit)?.expr;
            // Distinct values are told apart by their bytes.
            exprs.push(if distinct && name != "array_agg" { functions::canonical(expr, ty)? } else { expr });
        }
        if name == "regr_count" {
            exprs = vec![self.whole_pair(exprs)?];
        }
        if exprs.is_empty() {
            exprs.push(datafusion::prelude::lit(1_i64));
        }
        Ok((overload.function, exprs, overload.result))
    }

    fn inner_order(&self, env: &Env<'_>, clauses: &[ast::FunctionArgumentClause]) -> Result<Vec<SortExpr>> {
        let mut sorts = Vec::new();
        for clause in clauses {
            match clause {
                ast::FunctionArgumentClause::OrderBy(items) => sorts.extend(self.sorts(env, items)?),
                other => return Err(Error::unsupported(format!("{other} in a call"))),
            }
        }
        Ok(sorts)
    }

    pub(super) fn sorts(&self, env: &Env<'_>, items: &[ast::OrderByExpr]) -> Result<Vec<SortExpr>> {
        items
            .iter()
            .map(|item| {
                let value = self.settled(self.expr(env, &item.expr)?)?;
                sort(value.expr, value.ty.as_ref().unwrap_or(&PgType::Text), &item.options)
            })
            .collect()
    }
}

/// What the arguments of an aggregate are sorted by; DISTINCT values are sorted by themselves alone.
fn sort_keys(args: &[Typed]) -> Result<Vec<Expr>> {
    let plain = ast::OrderByOptions { asc: None, nulls_first: None };
    let key = |arg: &Typed| Ok(sort(arg.expr.clone(), arg.ty.as_ref().unwrap_or(&PgType::Text), &plain)?.expr);
    args.iter().map(key).collect()
}

/// What only aggregates take.
fn refuse_aggregate_clauses(name: &str, function: &ast::Function, list: &ast::FunctionArgumentList) -> Result<()> {
    let given = [
        (function.filter.is_some(), "FILTER"),
        (list.duplicate_treatment == Some(DuplicateTreatment::Distinct), "DISTINCT"),
        (!list.clauses.is_empty(), "ORDER BY"),
    ];
    match given.iter().find(|(given, _)| *given) {
        Some((_, clause)) => {
            let message = format!("{clause} specified, but {name} is not an aggregate function");
            Err(Error::new(SqlState::WrongObjectType, message))
        }
        None => Ok(()),
    }
}

/// The name of a function, without the schema that all of them are in.
fn function_name(name: &ast::ObjectName) -> Result<String> {
    let parts = name_parts(name)?;
    match parts.as_slice() {
        [name] => Ok(name.clone()),
        [schema, name] if schema == "pg_catalog" => Ok(name.clone()),
        [schema, name] if schema == "information_schema" && name == "_pg_expandarray" => Ok(name.clone()),
        [schema, name] => {
            let message = format!("function {schema}.{name}() does not exist");
            Err(Error::new(SqlState::UndefinedFunction, message))
        }
        _ => Err(Error::unsupported(format!("the function name {name}"))),
    }
}

/// A text that is the same for all rows.
pub(super) fn text(value: &str) -> Typed {
    Typed::constant(ScalarValue::Utf8(Some(value.to_string())), PgType::Text)
}

/// For messages: the types of arguments.
pub(crate) fn type_names(args: &[Typed]) -> String {
    args.iter()
        .map(|arg| arg.ty.as_ref().map_or_else(|| "unknown".to_string(), base_name))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Whether min or max goes over keys: over types that Arrow orders its own way.
pub(super) fn needs_key(name: &str, ty: &PgType) -> bool {
    matches!(name, "min" | "max") && extreme_key::is_needed(ty)
}
